"""YAML files of settings, read as nodes with their places."""

from worker.yaml_files.nodes import YamlFile, compose, place

__all__ = ["YamlFile", "compose", "place"]
