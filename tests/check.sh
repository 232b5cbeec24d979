#!/usr/bin/env bash
# Everything that must be clean: lint, types, floors, tests. Run from the project's root inside its environment.
set -euo pipefail
ruff check simlab tests
ruff format --check simlab tests
mypy
lint-imports
pytest -n 2 --dist worksteal "$@"
