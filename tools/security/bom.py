"""A CycloneDX document of an image's packages, from JSON on the standard input: ``{"name", "version", "deb", "pypi"}``.

Runs in the environment of requirements.txt, which has CycloneDX' own library.
"""

import json
import sys

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL


def document(image: dict) -> str:
    """The document as JSON text; packages are lists of name and version."""
    bom = Bom()
    bom.metadata.component = Component(name=image["name"], version=image["version"], type=ComponentType.CONTAINER)
    for kind, namespace in (("deb", "debian"), ("pypi", None)):
        for name, version in image[kind]:
            url = PackageURL(kind, namespace, name, version)
            bom.components.add(Component(name=name, version=version, purl=url, bom_ref=url.to_string()))
    bom.register_dependency(bom.metadata.component, bom.components)
    return make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2)


if __name__ == "__main__":
    print(document(json.load(sys.stdin)))
