"""Serve the tools by the Model Context Protocol on standard input and output.

Nothing but the protocol is written to standard output: the SDK sends what else would go there to
standard error.
"""

from __future__ import annotations

import signal
from typing import Any

import anyio
from anyio import to_thread
from mcp.server import Server, ServerRequestContext
from mcp.server.stdio import stdio_server
from mcp.types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)

from optformer._version import __version__
from optformer.serving.agents.catalogue import CATALOGUE, INSTRUCTIONS
from optformer.serving.agents.tools import Tools


def make_server(tools: Tools) -> Server[Any]:
    """A server of the tools, without a transport."""

    async def list_tools(
        context: ServerRequestContext[Any], params: PaginatedRequestParams | None
    ) -> ListToolsResult:
        return ListToolsResult(
            tools=[
                Tool(
                    name=tool.name,
                    description=tool.text,
                    input_schema=tool.schema,
                    annotations=ToolAnnotations(
                        read_only_hint=not tool.writes,
                        destructive_hint=False,
                        open_world_hint=False,
                    ),
                )
                for tool in CATALOGUE
            ]
        )

    async def call_tool(
        context: ServerRequestContext[Any], params: CallToolRequestParams
    ) -> CallToolResult:
        # In a thread: a model takes seconds to load, in which others may ask.
        text, failed = await to_thread.run_sync(tools.call, params.name, params.arguments or {})
        return CallToolResult(content=[TextContent(type="text", text=text)], is_error=failed)

    return Server(
        "optformer",
        version=__version__,
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def serve(tools: Tools) -> None:
    """Answer until standard input ends. Ctrl-C ends the process at once."""

    async def main() -> None:
        server = make_server(tools)
        async with stdio_server() as (read, write):
            await server.run(read, write, server.create_initialization_options())

    # The thread that waits for input cannot be woken, and an orderly end would wait for it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    anyio.run(main)
