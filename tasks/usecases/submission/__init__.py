"""Writing down what was asked for, once: also when a command is interrupted and repeated."""
