"""Logs through python-logging-loki, which wants the answer 204, and prints the time of each line in ns.

Usage: loki_handler.py PUSH_URL
"""

import logging
import sys

import logging_loki


class Judged(logging_loki.LokiHandler):
    """Fails the script when a push fails, and prints the time of what is pushed."""

    def __init__(self, **options):
        super().__init__(**options)
        build = self.emitter.build_payload

        def build_and_print(record, line):
            payload = build(record, line)
            print(payload["streams"][0]["values"][0][0])
            return payload

        self.emitter.build_payload = build_and_print

    def handleError(self, record):
        raise


handler = Judged(url=sys.argv[1], tags={"application": "my-app"}, version="1")
logger = logging.getLogger("my.logger")
logger.setLevel(logging.DEBUG)
logger.addHandler(handler)
logger.error("it broke: é", extra={"tags": {"service": "my-service"}})
logger.info("all is well")
