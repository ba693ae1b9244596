"""YAML configuration files, read as nodes with their positions."""

from worker.yaml_files.nodes import YamlFile, compose, place

__all__ = ["YamlFile", "compose", "place"]
