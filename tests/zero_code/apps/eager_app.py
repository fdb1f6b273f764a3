"""A web app that asks while it is imported: before the fork, when its server forks."""

import flask_app

app = flask_app.app
flask_app.client.chat.completions.create(model="gpt-4o-mini", messages=flask_app.messages("Are you there?"))
