"""Batches of OpenAI, Groq, Together, Mistral, Anthropic, Google: made when handed in, told when asked for."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from examples.offline_provider.model import Json

_CONTENT = re.compile(rb'name="file"[^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n(.*?)\r\n--', re.DOTALL)
_GOOGLE = re.compile(r"/models/(?P<model>[^/:]+):(?:batchGenerateContent|(?P<embeds>asyncBatchEmbedContent))$")
_NOW = datetime(2026, 11, 22, tzinfo=UTC).isoformat()


class Reply(NamedTuple):
    """What a request about a batch or a file is answered with."""

    body: bytes
    media_type: str = "application/json"
    headers: str = ""


class Batches:
    """What was handed in, by the path that asks for it."""

    def __init__(self, run: Callable[[str, Json], Json | int]) -> None:
        """`run(path, body)` makes one request of a batch: the response's body, or the status of its failure."""
        self._run = run
        self._kept: dict[str, Reply] = {}

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()

    def reply(self, method: str, target: str, raw: bytes, url: str, id_: str) -> Reply | None:
        """The answer to a request about a batch; None when it is about something else. What it makes gets the id."""
        if "/v1/" not in target:
            target = target.replace("/together/", "/together/v1/", 1)  # as its older SDKs ask
        path, at = target.partition("?")[0], target.partition("/v1/")[0]
        if method == "GET":
            return self._kept.get(target) or self._kept.get(path)
        if path.startswith("/upload/"):
            return self._upload(path, raw, url, id_)
        if asked := _GOOGLE.search(path):
            return self._google(path[: asked.start()], asked["model"], bool(asked["embeds"]), json.loads(raw), id_)
        if path == f"{at}/v1/files" and (found := _CONTENT.search(raw)):
            file: Json = {"id": f"file-{id_}", "object": "file", "bytes": len(found[1]), "created_at": 0}
            file |= {"filename": "batch.jsonl", "purpose": "batch", "status": "processed"}
            file |= {"sample_type": "batch_request", "source": "upload"}
            self._kept[f"{at}/v1/files/file-{id_}/content"] = Reply(found[1], "application/octet-stream")
            return self._keep(f"{at}/v1/files/file-{id_}", file)
        if path == f"{at}/v1/batches":
            return self._openai(json.loads(raw), id_, at)
        if path == f"{at}/v1/batch/jobs":
            return self._mistral(json.loads(raw), id_, at)
        if path == "/v1/messages/batches":
            return self._anthropic(json.loads(raw), url, id_)
        return None

    def _keep(self, path: str, body: Json) -> Reply:
        self._kept[path] = reply = Reply(json.dumps(body).encode())
        return reply

    def _upload(self, path: str, raw: bytes, url: str, id_: str) -> Reply:
        """A file for Google: announced first, then sent to where the answer to that says."""
        if path.endswith("/files"):
            headers = f"x-goog-upload-status: active\r\nx-goog-upload-url: {url}{path}/{id_}\r\n"
            return Reply(b"{}", headers=headers)
        name = f"files/{path.rpartition('/')[2]}"
        self._kept[name] = Reply(raw)
        file: Json = {"name": name, "mimeType": "application/json", "sizeBytes": str(len(raw)), "state": "ACTIVE"}
        return Reply(json.dumps({"file": file}).encode(), headers="x-goog-upload-status: final\r\n")

    def _google(self, version: str, model: str, embeds: bool, asked: Json, id_: str) -> Reply:
        given: Json = asked["batch"]["inputConfig"]
        file = self._kept[given["fileName"]].body.splitlines() if "fileName" in given else None
        lines: list[Json] = [json.loads(line) for line in file] if file else given["requests"]["requests"]
        results: list[Json] = []
        for line in lines:
            made = self._run(f"/models/{model}:{'embedContent' if embeds else 'generateContent'}", line["request"])
            told: Json = {"key": line["key"]} if "key" in line else {}
            if isinstance(made, int):
                results.append(told | {"error": {"code": 13, "message": "scripted failure"}})
                continue
            if embeds:
                made = {"embedding": made["embedding"], "tokenCount": str(made["usageMetadata"]["promptTokenCount"])}
            results.append(told | {"response": made})
        output: Json = {"inlinedResponses": {"inlinedResponses": results}}
        if file:
            written = "".join(json.dumps(result) + "\n" for result in results).encode()
            output = {"responsesFile": f"files/batch-{id_}"}
            self._kept[f"{version}/files/batch-{id_}:download"] = Reply(written, "application/octet-stream")
        told = {"model": f"models/{model}", "displayName": "offline", "createTime": _NOW, "updateTime": _NOW}
        ended = told | {"state": "BATCH_STATE_SUCCEEDED", "output": output}
        self._keep(f"{version}/batches/b-{id_}", {"name": f"batches/b-{id_}", "metadata": ended, "done": True})
        begun = told | {"state": "BATCH_STATE_PENDING"}
        return Reply(json.dumps({"name": f"batches/b-{id_}", "metadata": begun}).encode())

    def _openai(self, asked: Json, id_: str, at: str) -> Reply:
        results: list[Json] = []
        for number, line in enumerate(self._lines(at, asked["input_file_id"])):
            result = self._result(at + (line.get("url") or asked["endpoint"]), line, f"{id_}-{number}")
            results.append(({} if at == "/together" else {"id": f"batch_req_{id_}-{number}"}) | result)
        written = "".join(json.dumps(result) + "\n" for result in results).encode()
        self._kept[f"{at}/v1/files/file-{id_}-out/content"] = Reply(written, "application/octet-stream")
        batch: Json = {"id": f"batch_{id_}", "object": "batch", "created_at": 0, "status": "completed"}
        batch |= {"output_file_id": f"file-{id_}-out", "completion_window": "24h"}
        if at == "/together":
            job: Json = {"id": batch["id"], "status": "COMPLETED", "output_file_id": batch["output_file_id"]}
            self._keep(f"{at}/v1/batches/batch_{id_}", job)
            return Reply(json.dumps({"job": job}).encode())
        return self._keep(f"{at}/v1/batches/batch_{id_}", batch | asked)

    def _lines(self, at: str, file: str) -> list[Json]:
        return [json.loads(line) for line in self._kept[f"{at}/v1/files/{file}/content"].body.splitlines()]

    def _mistral(self, asked: Json, id_: str, at: str) -> Reply:
        files: list[str] = asked.get("input_files") or []
        lines: list[Json] = asked.get("requests") or [line for file in files for line in self._lines(at, file)]
        for line in lines:
            line["body"].setdefault("model", asked.get("model"))
        results = [
            {"id": f"batch-{id_}-{number}"} | self._result(at + asked["endpoint"], line, f"{id_}-{number}")
            for number, line in enumerate(lines)
        ]
        written = "".join(json.dumps(result) + "\n" for result in results).encode()
        self._kept[f"{at}/v1/files/file-{id_}-out/content"] = Reply(written, "application/octet-stream")
        job: Json = {"id": f"job-{id_}", "object": "batch", "input_files": files, "endpoint": asked["endpoint"]}
        job |= {"errors": [], "status": "SUCCESS", "created_at": 0, "completed_at": 0, "model": asked.get("model")}
        job |= {f"{kind}_requests": len(results) for kind in ("total", "completed", "succeeded")}
        job |= {"failed_requests": 0, "output_file": f"file-{id_}-out" if files else None}
        path = f"{at}/v1/batch/jobs/{job['id']}"
        self._keep(f"{path}?inline=true", job | {"outputs": results})
        return self._keep(path, job)

    def _result(self, path: str, line: Json, id_: str) -> Json:
        """What became of one request."""
        made = self._run(path, line["body"])
        response: Json = {"status_code": made, "body": {}} if isinstance(made, int) else {"status_code": 200}
        response |= {"request_id": f"req_{id_}"} | ({} if isinstance(made, int) else {"body": made})
        return {"custom_id": line["custom_id"], "response": response, "error": None}

    def _anthropic(self, asked: Json, url: str, id_: str) -> Reply:
        results: list[Json] = []
        for request in asked["requests"]:
            made = self._run("/v1/messages", request["params"])
            failed: Json = {
                "type": "errored",
                "error": {"type": "error", "error": {"type": "api_error", "message": ""}},
            }
            result: Json = failed if isinstance(made, int) else {"type": "succeeded", "message": made}
            results.append({"custom_id": request["custom_id"], "result": result})
        path = f"/v1/messages/batches/msgbatch_{id_}"
        written = "".join(json.dumps(result) + "\n" for result in results).encode()
        self._kept[f"{path}/results"] = Reply(written, "application/x-jsonl")
        counts = {"processing": 0, "succeeded": len(results), "errored": 0, "canceled": 0, "expired": 0}
        batch: Json = {"id": f"msgbatch_{id_}", "type": "message_batch", "processing_status": "ended"}
        batch |= {"request_counts": counts, "results_url": f"{url}{path}/results"}
        return self._keep(path, batch | {"created_at": _NOW, "expires_at": _NOW, "ended_at": _NOW})
