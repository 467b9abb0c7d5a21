"""The typed view of a recorded definition agrees with the definition, and takes what earlier versions wrote."""

from __future__ import annotations

from maestro.agents import definitions
from maestro.agents.definitions import Definition
from maestro.model.definition import AgentDefinition

WHOLE = """
slug: helper
mode: code
image: busybox
isolate_with: docker
capabilities: [review, review, build]
limits: {timeout_s: 7}
resource_limits: {memory: 1M}
shared_network: true
"""


def test_every_key_reads_as_the_definition_has_it() -> None:
    definition = definitions.parse(WHOLE, "helper.yaml")
    view = AgentDefinition(definition.to_dict())
    for key in ("source", "executable", "found_version", "workspace_template", "image", "shared_cache"):
        assert getattr(view, key) == getattr(definition, key), key
    assert view.in_container and view.shared_network and view.can_resume == (definition.resume is not None)
    assert view.capabilities == ("review", "build") and view.timeout_s == 7.0
    assert view.resource_limits == definition.to_dict()["resource_limits"]


def test_what_is_absent_or_of_another_type_reads_as_not_set() -> None:
    odd = {"limits": 5, "capabilities": "review", "executable": None, "resource_limits": []}
    for data in ({}, odd, {"limits": {"timeout_s": 0}}, {"limits": {"timeout_s": "7"}}):
        view = AgentDefinition(data)
        assert view.timeout_s is None and view.capabilities == () and view.executable == ""
        assert view.resource_limits == {} and not (view.can_resume or view.in_container or view.shared_network)


def test_each_built_in_definition_names_its_source() -> None:
    for info in definitions.types([]):
        recorded: Definition = definitions.load(info.slug, [])
        assert AgentDefinition(recorded.to_dict()).source == definitions.BUILT_IN
