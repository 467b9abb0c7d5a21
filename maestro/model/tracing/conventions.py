"""The conventions of spans: the names of OpenTelemetry that Maestro uses, of one pinned version, and its own.

Pinned is v1.41.0, the last version of the semantic conventions that holds those of generative AI; they are developed
in a repository of their own since. The constants of `opentelemetry-semantic-conventions` follow the newest version,
where these are marked as moved, so they are written down here. Another version means other names for whoever has
dashboards: it is a change that CHANGELOG tells.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = "1.41.0"
SCHEMA_URL: Final = f"https://opentelemetry.io/schemas/{VERSION}"
SCOPE: Final = "maestro"

# ---- of the conventions ----

SERVICE_NAME: Final = "service.name"
SERVICE_NAMESPACE: Final = "service.namespace"
SERVICE_VERSION: Final = "service.version"
ERROR_TYPE: Final = "error.type"
OPERATION: Final = "gen_ai.operation.name"
INVOKE_AGENT: Final = "invoke_agent"
INVOKE_WORKFLOW: Final = "invoke_workflow"
AGENT: Final = "gen_ai.agent.name"
WORKFLOW: Final = "gen_ai.workflow.name"
CONVERSATION: Final = "gen_ai.conversation.id"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHED_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"

# ---- of Maestro ----

COST: Final = "maestro.usage.cost"
TASK: Final = "maestro.task.id"
RUN: Final = "maestro.run.id"
ATTEMPT: Final = "maestro.attempt"
NODE: Final = "maestro.node"
COMMAND: Final = "maestro.command"
EXIT_CODE: Final = "maestro.exit_code"
SIGNAL: Final = "maestro.signal"
DURATION_MS: Final = "maestro.duration_ms"
OUTCOME: Final = "maestro.outcome"
STATUS: Final = "maestro.status"
RESTART: Final = "maestro.restart"
WORKFLOW_RUN: Final = "maestro.workflow.run"
WORKFLOW_VERSION: Final = "maestro.workflow.version"
RESUMED_FROM: Final = "maestro.workflow.resumed_from"
STEP: Final = "maestro.step"
POSITION: Final = "maestro.position"
