"""Examples of whole answers, made of the examples of their parts."""

from typing import Any

_BY_TYPE = {"integer": 1, "number": 1.0, "boolean": True}


class Examples:
    """Finds an example of whatever these schemas describe."""

    def __init__(self, schemas: dict[str, Any]) -> None:
        self._schemas = schemas

    def of(self, schema: dict[str, Any]) -> Any:
        """The schema's own example, or one of its parts.

        Raises:
            KeyError: something in it is of a type that needs an example and has none.
        """
        if "example" in schema:
            # FastAPI has left out whatever is null in it.
            return dict.fromkeys(schema["properties"]) | schema["example"]
        for several in ("examples", "enum"):
            if several in schema:
                return schema[several][0]
        if "const" in schema:
            return schema["const"]
        if "$ref" in schema:
            return self.of(self._schemas[schema["$ref"].rpartition("/")[2]])
        if "anyOf" in schema:
            return self.of(schema["anyOf"][0])
        if schema["type"] == "array":
            return [self.of(schema["items"])]
        if schema["type"] == "object":
            return {name: self.of(part) for name, part in schema["properties"].items()}
        return _BY_TYPE[schema["type"]]
