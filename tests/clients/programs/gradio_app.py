"""A Gradio app on $PORT: a greeting, a count that comes piece by piece, a file, and an error."""

import os
import time

import gradio as gr


def greet(name):
    return f"Hello, {name}!"


def count(limit):
    for number in range(1, int(limit) + 1):
        time.sleep(0.05)
        yield str(number)


def backwards(path):
    out = f"{path}.out"
    with open(path, "rb") as source, open(out, "wb") as sink:
        sink.write(source.read()[::-1])
    return out


def fail():
    raise gr.Error("not today")


with gr.Blocks(title="Of test") as app:
    name, limit, source = gr.Textbox(label="Name"), gr.Number(label="Limit"), gr.File(label="Source")
    greeting, number, result = gr.Textbox(label="Greeting"), gr.Textbox(label="Number"), gr.File(label="Result")
    gr.Button("Greet").click(greet, name, greeting, api_name="greet", concurrency_limit=8)
    gr.Button("Count").click(count, limit, number, api_name="count")
    gr.Button("Reverse").click(backwards, source, result, api_name="backwards")
    gr.Button("Fail").click(fail, None, None, api_name="fail")

app.launch(server_name="127.0.0.1", server_port=int(os.environ["PORT"]), quiet=True, show_error=True)
