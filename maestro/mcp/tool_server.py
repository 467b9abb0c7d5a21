"""A server of tools whose errors are told twice: as a line that a model reads, and as fields that a program reads."""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp_types import CallToolResult, InputRequiredResult, TextContent
from pydantic import BaseModel, Field, ValidationError

from maestro.model.errors import Invalid, NotFound

FAILURE = "maestro_failure"


class Failure(BaseModel):
    """Why a tool has failed, as `_meta` of such an answer has it under FAILURE.

    Not as its structured content: clients check that by the schema of what the tool gives, and refuse the whole answer.

    code: `invalid`, `not_found`, `refused`, `store_away`, … as the errors of commands have it.
    """

    what: str
    where: str = Field(default="", description="the place, such as an id or an argument")
    mend: str = Field(default="", description="what to do about it")
    code: str = "failed"


class ToolFailure(ToolError):
    """A failure with its fields. line: as a model reads it."""

    def __init__(self, line: str, failure: Failure) -> None:
        super().__init__(line)
        self.failure = failure


class ToolServer(MCPServer[Any]):
    """The SDK's server, whose own errors are text only."""

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool by name; an error that was foreseen is an answer, too. Raises UnexpectedToolError."""
        try:
            self._refuse_unknown(name, arguments)
            return await super().call_tool(name, arguments, context)
        except UnexpectedToolError:
            raise
        except ToolError as error:
            failure = _failure(name, error)
            line = str(error)
            if isinstance(error.__cause__, ValidationError):  # whose own text is of many lines
                line = f"{name}: {failure.where}: {failure.what}; {failure.mend}"
            told = TextContent(type="text", text=line)
            return CallToolResult(_meta={FAILURE: failure.model_dump()}, content=[told], is_error=True)

    def _refuse_unknown(self, name: str, arguments: dict[str, Any]) -> None:
        """Refuse arguments that the tool has not: left out in silence, a misspelled one would do something else."""
        tool = self._tool_manager.get_tool(name)
        known = sorted(tool.parameters.get("properties", {})) if tool is not None else sorted(arguments)
        unknown = ", ".join(sorted(set(arguments) - set(known)))
        if unknown:
            what, mend = f"there is no such argument of {name}", f"it takes {', '.join(known) or 'none'}"
            failure = Failure(what=what, where=unknown, mend=mend, code=Invalid.code)
            raise ToolFailure(f"{name}: {unknown}: {what}; {mend}", failure)


def _failure(tool: str, error: ToolError) -> Failure:
    """The fields of an error: of the tool itself, of arguments that do not fit, or of a tool that is not there."""
    cause = error if isinstance(error, ToolFailure) else error.__cause__
    if isinstance(cause, ToolFailure):
        return cause.failure
    if isinstance(cause, ValidationError):
        bad = cause.errors(include_url=False, include_context=False, include_input=False)
        where = ", ".join(sorted({".".join(map(str, one["loc"])) for one in bad}))
        what = "; ".join(dict.fromkeys(one["msg"] for one in bad))
        return Failure(what=what, where=where, mend=f"the input schema of {tool} says what fits", code=Invalid.code)
    if str(error).startswith("Unknown tool"):
        return Failure(what=str(error), where=tool, mend="tools/list names all tools", code=NotFound.code)
    return Failure(what=str(error), where=tool)
