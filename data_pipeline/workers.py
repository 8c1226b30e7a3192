"""Worker processes of Beam's runner on this machine.

Beam's own handler waits forever for a worker that was killed, say for its memory. This one ends the run: the store
keeps what is done. A worker whose build is killed ends too.
"""

import os
import shlex
import signal
import subprocess
import sys
import threading
from typing import Any, ClassVar

from apache_beam.portability import python_urns
from apache_beam.portability.api import endpoints_pb2
from apache_beam.runners.portability.fn_api_runner.worker_handlers import GrpcWorkerHandler, WorkerHandler
from google.protobuf import json_format, text_format

from data_pipeline.isolation import exit_with

_PARENT = "GID_MOTION_PARENT"  # in a worker's environment: the process that started it


class WorkerLost(Exception):
    """A worker process was killed."""


@WorkerHandler.register_environment(python_urns.SUBPROCESS_SDK, bytes)
class WorkerProcess(GrpcWorkerHandler):
    """Stands for Beam's SubprocessSdkWorkerHandler. If one of them dies, all do."""

    lost: WorkerLost | None = None
    """why the present or the last run ended, if that was it"""
    _running: ClassVar[set["WorkerProcess"]] = set()

    def __init__(self, command: bytes, *arguments: Any):
        super().__init__(*arguments)
        self._command = shlex.split(command.decode())
        self._closing = False

    def start_worker(self) -> None:
        control = endpoints_pb2.ApiServiceDescriptor(url=self.control_address)
        environment = os.environ | {
            "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(control),
            "PIPELINE_OPTIONS": json_format.MessageToJson(self.provision_info.provision_info.pipeline_options),
            "WORKER_ID": self.worker_id,
            "PYTHONPATH": os.pathsep.join(sys.path),
            _PARENT: str(os.getpid()),
        }
        self._process = subprocess.Popen(self._command, env=environment)
        self._running.add(self)
        threading.Thread(target=self._watch, daemon=True).start()

    def close(self) -> None:
        self._closing = True
        super().close()

    def stop_worker(self) -> None:
        self._process.wait()
        self._running.discard(self)

    def _watch(self) -> None:
        code = self._process.wait()
        if self._closing:
            return
        if WorkerProcess.lost is None:
            ended = (
                f"was ended by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"ended with code {code}"
            )
            WorkerProcess.lost = WorkerLost(f"a worker process {ended}")
        for other in list(self._running):
            other._process.kill()
        self.control_conn.abort(WorkerProcess.lost)
        self.data_conn.close()


def follow_parent() -> None:
    """In a worker process of this machine: end with the build."""
    if _PARENT in os.environ:
        exit_with(int(os.environ[_PARENT]))
