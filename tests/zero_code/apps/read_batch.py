"""Reads the results of a batch, of its own or of the one with this id: `read_batch.py [id]`. Prints the id."""

import sys
from typing import Any

import anthropic

batches = anthropic.Anthropic().messages.batches
known = sys.argv[1:]
if not known:
    question = {"role": "user", "content": "Why?"}
    params: Any = {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": [question]}
    known = [batches.create(requests=[{"custom_id": str(number), "params": params} for number in range(5)]).id]
assert [line.custom_id for line in batches.results(known[0])]
print(known[0])
