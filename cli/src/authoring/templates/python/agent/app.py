"""An agent: it hands the conversation to a model, makes the calls that the model asks for, and
answers when the model has no more to ask.
"""

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports import models, tools
from wit_world.imports.models import Options, Request, ToolChoice_Auto, ToolDefinition
from wit_world.imports.tools import CallRequest
from wit_world.imports.types import (
    Error_Failed,
    Error_Invalid,
    Message,
    Part,
    Part_Text,
    Role,
    ToolResult,
)

# Most turns of the model before the agent gives up.
TURNS = 8

INSTRUCTIONS = "Answer briefly. Use the tools for facts and calculations."


class Handler(exports.Handler):
    def handle(self, messages: list[Message]) -> list[Part]:
        # Only what was granted is listed; the first model is the default one.
        granted = models.list()
        if not granted:
            raise Err(Error_Invalid("this agent has no model"))
        request = Request(
            model=granted[0].name,
            messages=[Message(Role.SYSTEM, [Part_Text(INSTRUCTIONS)], [], []), *messages],
            tools=[
                ToolDefinition(function.name, function.description, function.input_schema)
                for function in tools.list()
            ],
            tool_choice=ToolChoice_Auto(),
            options=Options(None, None, None, [], None, None),
        )
        for _ in range(TURNS):
            turn = models.complete(request).message
            if not turn.tool_calls:
                return turn.content
            # The host makes the calls at the same time, each in the tool's own sandbox.
            results = tools.call_all(
                [CallRequest(call.name, call.arguments) for call in turn.tool_calls]
            )
            answers = []
            for call, result in zip(turn.tool_calls, results, strict=True):
                if isinstance(result, Ok):
                    content, failed = result.value.content, result.value.is_error
                else:
                    # A call that fails is not the end: the model reads why.
                    content, failed = [Part_Text(str(result.value))], True
                answers.append(ToolResult(call.id, content, failed))
            request.messages += [turn, Message(Role.TOOL, [], [], answers)]
        raise Err(Error_Failed(f"the model had no answer after {TURNS} turns"))
