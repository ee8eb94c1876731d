"""The server example: answers equal Python's, requests share runs, bad ones get 4xx."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import functorch_like as ft
from nn.data import load_digits

SCRIPT = Path(__file__).parent.parent / "examples" / "serve.py"


def ask(url, data=None):
    request = urllib.request.Request(
        url, data and json.dumps(data).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


@pytest.fixture
def server(tmp_path):
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    path = tmp_path / "digits.safetensors"
    subprocess.run(
        [sys.executable, SCRIPT, path, "--export"], check=True, stdout=subprocess.DEVNULL
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, SCRIPT, path, "--port", str(port), "--wait", "0.05"]
    process = subprocess.Popen([*map(str, command)])
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            try:
                ask(url + "/health")
                break
            except OSError:
                assert process.poll() is None, "the server has stopped"
                time.sleep(0.1)
        yield url, path
    finally:
        process.terminate()
        process.wait(20)


def test_answers_and_batching(server):
    url, path = server
    images = load_digits()[0][:16]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda x: ask(url + "/predict", {"input": x.tolist()}), images))
    expected = ft.load_program(path)(images)
    for answer, row in zip(answers, expected, strict=True):
        assert ft.allclose(ft.tensor(answer["output"][0]), row, atol=1e-6)
    health = ask(url + "/health")
    assert health["served"] == 16 and health["runs"] < 16
    for bad in ([1.0], [["a"]], "x"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            ask(url + "/predict", {"input": bad})
        assert caught.value.code == 422
        caught.value.close()
