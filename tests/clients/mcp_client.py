"""The official Python SDK, unmodified, against a tenant's MCP endpoint (fixtures.yaml is applied).
It speaks 2026-07-28 where the server does, so this is the era without sessions."""

import asyncio
import os

from mcp import Client


async def main():
    async with Client(os.environ["TENANT_URL"] + "/mcp") as client:
        listed = await client.list_tools()
        names = {tool.name for tool in listed.tools}
        assert {"echo_echo", "echo_add", "conformance_test_simple_text"} <= names, names

        result = await client.call_tool("echo_echo", {"text": "hi"})
        assert not result.is_error and result.content[0].text == "hi", result
        result = await client.call_tool("echo_add", {"a": 2**53 + 1, "b": 1})
        assert str(2**53 + 2) in result.content[0].text, result
        result = await client.call_tool("echo_fail", {"why": "on purpose"})
        assert result.is_error and "on purpose" in result.content[0].text, result

        reports = []

        async def progress(done, total, message):
            reports.append(done)

        await client.call_tool("conformance_test_tool_with_progress", {}, progress_callback=progress)
        assert len(reports) >= 3 and reports == sorted(set(reports)), reports
        print("mcp-python: ok", client.protocol_version)


asyncio.run(main())
