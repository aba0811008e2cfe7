"""A hook of hatchling: ``top_level.txt``, by which openmim finds the package of a distribution with another name."""

import tempfile
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class TopLevel(BuildHookInterface):
    def initialize(self, version: str, build_data: dict) -> None:
        self.folder = tempfile.TemporaryDirectory()
        file = Path(self.folder.name, 'top_level.txt')
        file.write_text('rethink\n')
        metadata = self.build_config.builder.metadata
        name = metadata.core.name.replace('-', '_')
        build_data['force_include'][str(file)] = f'{name}-{metadata.version}.dist-info/top_level.txt'

    def finalize(self, version: str, build_data: dict, artifact_path: str) -> None:
        self.folder.cleanup()
