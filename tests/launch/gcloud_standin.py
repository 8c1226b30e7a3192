"""A stand-in for gcloud: notes its arguments, plays a scenario, and runs in folders what is sent to workers.

Its folder (`GCLOUD_STANDIN`) holds `calls.jsonl`, `scenario.json` and a home folder for each worker. The scenario:
`workers`, how many there are; `slice`, what the two `describe` commands say of the slice at each look, as [queued
resource, node] (the last stays; `create` and `delete` change nothing); `lost`, the numbers of the `ssh` calls, from 0,
in which the connections break before anything runs; `accelerator`, what the slice is; `create_code`, what `create`
exits with.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(os.environ["GCLOUD_STANDIN"])
SCENARIO = json.loads((FOLDER / "scenario.json").read_text())
WORKERS = [FOLDER / f"worker{number}" for number in range(SCENARIO["workers"])]


def count(kind):
    """How often this kind of call came before."""
    path = FOLDER / f"{kind}.count"
    before = int(path.read_text()) if path.exists() else 0
    path.write_text(str(before + 1))
    return before


def option(name):
    return next(argument.split("=", 1)[1] for argument in sys.argv if argument.startswith(f"--{name}="))


def describe(group):
    look = count("queue") if group == "queued-resources" else int((FOLDER / "queue.count").read_text()) - 1
    queue, node = SCENARIO["slice"][min(look, len(SCENARIO["slice"]) - 1)]
    if "acceleratorType" in option("format"):
        print(SCENARIO["accelerator"])
    elif "failedData" in option("format"):
        print("out of quota")
    else:
        state = queue if group == "queued-resources" else node
        if state in ("NOT_FOUND", "PERMISSION_DENIED"):
            sys.exit(f"ERROR: (gcloud.compute.tpus.{group}.describe) {state}: said of {sys.argv[5]}")
        print(state)


def ssh():
    """As gcloud does: split at spaces and joined by ssh; the exit code is that of the first worker that failed."""
    if count("ssh") in SCENARIO["lost"]:
        sys.exit(255)
    command = " ".join(option("command").split(" "))
    processes = [  # in sessions of their own: they outlive the connection
        subprocess.Popen(
            ["bash", "-c", command],
            cwd=home,
            env={**os.environ, "HOME": str(home), "WORKER": str(number)},
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        for number, home in enumerate(WORKERS)
    ]
    codes = [process.wait() for process in processes]
    sys.exit(next((code for code in codes if code), 0))


def main():
    with open(FOLDER / "calls.jsonl", "a") as file:
        file.write(json.dumps(sys.argv[1:]) + "\n")
    group, verb = sys.argv[3:5] if sys.argv[1] == "compute" else sys.argv[1:3]
    if verb == "describe":
        describe(group)
    elif verb == "scp":
        for home in WORKERS:
            shutil.copy(sys.argv[5], home)
    elif verb == "ssh":
        ssh()
    elif verb == "create":
        sys.exit(SCENARIO.get("create_code", 0))


main()
