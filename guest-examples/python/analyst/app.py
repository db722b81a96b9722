"""An agent in Python: it profiles every table of a folder with two tools written in other languages and,
where it is granted a model, has it point out what is odd. Without a model the profile is the answer."""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import context, models, tools, types

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl")


class Handler(exports.Handler):
    def handle(self, messages: list[types.Message]) -> list[types.Part]:
        settings = {p.name: p.value for p in context.current().parameters}
        folder = settings.get("folder", "/input")
        files = call("text-search_list_files", folder=folder)
        paths = [file["path"] for file in files if file["path"].endswith(SUFFIXES)]
        report = profile(paths) if paths else f"There are no tables in {folder}."
        model = first_model()
        if model and paths:
            question = text_of(messages[-1].content) if messages else ""
            report = ask(model, question, report)
        return [types.Part_Text(report)]


def call(name: str, **arguments):
    """Calls one function and returns its structured result."""
    return value(name, tools.call(types_request(name, arguments)))


def types_request(name: str, arguments: dict) -> tools.CallRequest:
    return tools.CallRequest(name=name, arguments=json.dumps(arguments))


def value(name: str, result: tools.CallResult):
    text = result.structured or text_of(result.content)
    if result.is_error:
        raise Err(types.Error_Failed(f"{name}: {text}"))
    return unwrap(json.loads(text))


def unwrap(answer):
    """Structured results are objects; a value of another kind comes as their only member."""
    return answer["result"] if isinstance(answer, dict) and list(answer) == ["result"] else answer


def profile(paths: list[str]) -> str:
    """Describes all tables, sixteen at a time."""
    sections = []
    for start in range(0, len(paths), 16):
        batch = paths[start : start + 16]
        requests = [types_request("table-query_describe", {"path": path}) for path in batch]
        for path, outcome in zip(batch, tools.call_all(requests)):
            sections.append(section(path, outcome))
    return "\n\n".join(["# Tables", *sections])


def section(path: str, outcome) -> str:
    """What is known of one table; a table that cannot be read is a finding too."""
    if isinstance(outcome, Err):
        return f"## {path}\nnot read: {outcome.value}"
    if outcome.value.is_error:
        return f"## {path}\nnot read: {text_of(outcome.value.content)}"
    table = value("table-query_describe", outcome.value)
    lines = [f"## {path}", f"{table['rows']} rows", "", "| column | kind | filled | from | to |", "|---|---|---|---|---|"]
    for column in table["columns"]:
        ends = [column.get("least") or "", column.get("most") or ""]
        cells = [column["name"], column["kind"], str(column["filled"]), *ends]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def first_model() -> str | None:
    try:
        granted = models.list()
    except Err as error:
        if isinstance(error.value, types.Error_Denied):
            return None
        raise
    return granted[0].name if granted else None


def ask(model: str, question: str, report: str) -> str:
    def message(role, text):
        return types.Message(role=role, content=[types.Part_Text(text)], tool_calls=[], tool_results=[])

    instructions = "Point out what is odd in these tables: gaps, outliers, mixed kinds. Invent nothing."
    completion = models.complete(
        models.Request(
            model=model,
            messages=[
                message(types.Role.SYSTEM, instructions),
                message(types.Role.USER, f"{question}\n\n{report}"),
            ],
            tools=[],
            tool_choice=models.ToolChoice_Auto(),
            options=models.Options(
                temperature=None, top_p=None, max_tokens=2000, stop=[], seed=None, response_schema=None
            ),
        )
    )
    return text_of(completion.message.content)


def text_of(parts) -> str:
    return "\n".join(part.value for part in parts if isinstance(part, types.Part_Text))
