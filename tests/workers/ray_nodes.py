"""Ray with two nodes of one CPU each; prints its address, then does as it is told on stdin: kill, add. Ends with it."""

import os
import sys
from tempfile import TemporaryDirectory

with TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_TMPDIR=folder, RAY_worker_niceness="0")
    from ray.cluster_utils import Cluster

    small = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_log_monitor": False}
    cluster = Cluster(True, head_node_args={**small, "no_monitor": True})
    try:
        second = cluster.add_node(**small)
        print(cluster.address, flush=True)  # noqa: T201
        for line in sys.stdin:
            if line == "kill\n":
                cluster.remove_node(second, allow_graceful=False)
            else:
                second = cluster.add_node(**small)
            print(line, end="", flush=True)  # noqa: T201
    finally:
        cluster.shutdown()
