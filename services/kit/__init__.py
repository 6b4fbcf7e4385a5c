"""What every service process shares. Nothing in here knows any service; importing `kit` itself imports no framework.

    bus/      nameko and kombu: entrypoints (RPC, events, timers), app (the application of a service), bus (calls and
              events), process (`serve`), healthcheck
    tasks/    eventlet: green threads, loops, events, time-outs, file descriptors
    web/      eventlet.wsgi and werkzeug: pages of a service, /metrics
    beside them: environment, files, subprocesses, metrics, registry_guard, reconcile_loop, log_lines; monkey_patch is
    the first import of a process

nameko, kombu and eventlet are imported below this folder only, so that they can be replaced here.
"""

import warnings

warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")  # nameko leaves no choice
