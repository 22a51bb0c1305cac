"""Validates a JSON document (standard input) with a JSON schema (a file). Prints each violation, and then fails."""

import json
import sys

import jsonschema

with open(sys.argv[1], encoding="utf-8") as file:
    schema = json.load(file)
judge = jsonschema.validators.validator_for(schema)
judge.check_schema(schema)
errors = list(judge(schema, format_checker=jsonschema.FormatChecker()).iter_errors(json.load(sys.stdin)))
for error in errors:
    print("/".join(map(str, error.absolute_path)) + ": " + error.message[:300])
sys.exit(1 if errors else 0)
