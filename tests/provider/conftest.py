from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from examples.offline_provider import OfflineProvider


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.text)

    @property
    def events(self) -> list[dict[str, Any]]:
        data = [line.removeprefix("data: ") for line in self.text.splitlines() if line.startswith("data: ")]
        return [json.loads(line) for line in data if line != "[DONE]"]


Post = Callable[..., Reply]


@pytest.fixture(scope="module")
def running() -> Iterator[OfflineProvider]:
    with OfflineProvider() as provider:
        yield provider


@pytest.fixture
def provider(running: OfflineProvider) -> OfflineProvider:
    running.clear()
    return running


@pytest.fixture
def post(provider: OfflineProvider) -> Iterator[Post]:
    connection = http.client.HTTPConnection(provider.url.removeprefix("http://"), timeout=5)

    def send(path: str, body: dict[str, Any], script: str = "", **headers: str) -> Reply:
        connection.request("POST", path, json.dumps(body), {"x-offline-script": script, **headers})
        response = connection.getresponse()
        return Reply(response.status, dict(response.getheaders()), response.read().decode())

    yield send
    connection.close()
