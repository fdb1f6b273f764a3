"""A Celery application whose broker is a folder."""

from pathlib import Path
from typing import Any

import openai
from celery import Celery  # pyright: ignore[reportMissingTypeStubs]

folders: dict[str, str] = {}
for name in ("data_folder_in", "data_folder_out", "control_folder"):
    folder = Path("queue") / name.partition("_")[0]
    folder.mkdir(parents=True, exist_ok=True)
    folders[name] = str(folder)

app: Any = Celery("celery_app", broker="filesystem://", broker_transport_options=folders)
app.conf.worker_hijack_root_logger = False
client = openai.OpenAI()


@app.task
def ask(number: int) -> None:
    client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": f"Question {number}"}])


@app.task(bind=True, max_retries=1)
def retry(self: Any, number: int) -> None:
    ask(number)
    if self.request.retries == 0:
        raise self.retry(countdown=0)
