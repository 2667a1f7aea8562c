"""The dashboards as code, by Grafana's own builders. `python -m monitoring` writes their files.

Needs the development requirements: what is deployed are the files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from grafana_foundation_sdk.builders import dashboard as board
from grafana_foundation_sdk.builders import prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DataSourceRef

Unit = Literal["short", "s", "bytes", "reqps", "ops", "percentunit", "none"]
WIDTH, HEIGHT = 12, 8
_HPA = '{$ns,horizontalpodautoscaler=~"(keda-hpa-)?$service-hpa"}'
_CLAIMS = '{$ns,persistentvolumeclaim=~"data-pg-.+"}'
_HITS, _MISSES = (f"sum(rate(redis_keyspace_{found}_total{{$in}}[$r]))" for found in ("hits", "misses"))
_QUERIES = "sum by (database) (rate(pgbouncer_stats_queries_total{$in}[$r]))"
_QUERY_TIME = "sum by (database) (rate(pgbouncer_stats_queries_duration_microseconds_total{$in}[$r]))"


@dataclass(frozen=True)
class Panel:
    """A graph: its queries by legend. In them `$ns` selects the namespace, `$in` the pods in it, `$r` is the window."""

    title: str
    unit: Unit
    queries: tuple[tuple[str, str], ...]
    description: str = ""


@dataclass(frozen=True)
class Page:
    """A dashboard: `pods` matches the pods that it is about, `service` asks which service they are of."""

    name: str
    title: str
    pods: str
    panels: tuple[Panel, ...]
    service: bool = False


SERVICES = Page(
    "services",
    "Headroom: services",
    "$service(-canary)?-[a-z0-9]+-[a-z0-9]+",
    (
        Panel("Requests", "reqps", (("{{status}}", "sum by (status) (rate(http_requests_total{$in}[$r]))"),)),
        Panel(
            "Latency",
            "s",
            tuple(
                (
                    f"p{share}",
                    f"histogram_quantile(0.{share}, sum by (le) "
                    f'(rate(http_request_duration_seconds_bucket{{$in,path=~"/predict.*"}}[$r])))',
                )
                for share in (50, 95, 99)
            ),
        ),
        Panel(
            "Queue",
            "short",
            (("{{pod}}", "request_queue_depth{$in}"), ("limit of a pod", "max(request_queue_limit{$in})")),
            "Requests that wait for a model thread: what the autoscaler follows. At its limit a pod answers 503.",
        ),
        Panel("Busy model threads", "short", (("{{pod}}", "model_threads_busy{$in}"),)),
        Panel(
            "Pods",
            "none",
            (
                ("answering", "count(up{$in} == 1)"),
                ("wanted", f"kube_horizontalpodautoscaler_status_desired_replicas{_HPA}"),
                ("maximum", f"kube_horizontalpodautoscaler_spec_max_replicas{_HPA}"),
            ),
        ),
        Panel(
            "Skew",
            "reqps",
            (("{{pod}}", "sum by (pod) (rate(http_requests_total{$in}[$r]))"),),
            "Pods that get more than the others.",
        ),
        Panel(
            "Feature cache",
            "ops",
            (("{{result}}", "sum by (result) (rate(feature_cache_requests_total{$in}[$r]))"),),
        ),
        Panel(
            "Feature loads",
            "ops",
            (("{{outcome}}", "sum by (outcome) (rate(feature_loads_total{$in}[$r]))"),),
        ),
        Panel(
            "Batches",
            "short",
            (("rows a call", "sum(rate(model_batch_rows_sum{$in}[$r])) / sum(rate(model_batch_rows_count{$in}[$r]))"),),
        ),
        Panel(
            "CPU",
            "short",
            (("{{pod}}", 'sum by (pod) (rate(container_cpu_usage_seconds_total{$in,container!=""}[$r]))'),),
        ),
        Panel(
            "Memory", "bytes", (("{{pod}}", 'sum by (pod) (container_memory_working_set_bytes{$in,container!=""})'),)
        ),
    ),
    service=True,
)

POSTGRES = Page(
    "postgres",
    "Headroom: PostgreSQL",
    "pg-shard-[0-9]+-[0-9]+",
    (
        Panel("Primaries a shard", "none", (("{{scope}}", "sum by (scope) (patroni_primary{$in})"),)),
        Panel("Running copies a shard", "none", (("{{scope}}", "sum by (scope) (patroni_postgres_running{$in})"),)),
        Panel(
            "Replication lag",
            "bytes",
            (
                (
                    "{{pod}}",
                    "max by (scope) (patroni_xlog_location{$in}) - on (scope) group_right () "
                    "(patroni_xlog_replayed_location{$in} and on (namespace, pod) patroni_replica{$in} == 1)",
                ),
            ),
        ),
        Panel("WAL written", "bytes", (("{{scope}}", "sum by (scope) (rate(patroni_xlog_location{$in}[$r]))"),)),
        Panel("Synchronous standbys", "none", (("{{scope}}", "sum by (scope) (patroni_sync_standby{$in})"),)),
        Panel("Since the Kubernetes API was reached", "s", (("{{pod}}", "time() - patroni_dcs_last_seen{$in}"),)),
        Panel(
            "Free on the volumes",
            "percentunit",
            (
                (
                    "{{persistentvolumeclaim}}",
                    f"kubelet_volume_stats_available_bytes{_CLAIMS} / kubelet_volume_stats_capacity_bytes{_CLAIMS}",
                ),
            ),
        ),
        Panel("Memory", "bytes", (("{{pod}}", 'container_memory_working_set_bytes{$in,container="postgres"}'),)),
        Panel(
            "CPU",
            "short",
            (("{{pod}}", 'sum by (pod) (rate(container_cpu_usage_seconds_total{$in,container="postgres"}[$r]))'),),
        ),
    ),
)

PGBOUNCER = Page(
    "pgbouncer",
    "Headroom: PgBouncer",
    "pgbouncer-[a-z0-9]+-[a-z0-9]+",
    (
        Panel(
            "Clients",
            "none",
            (
                ("active, {{pod}}", "sum by (pod) (pgbouncer_pools_client_active_connections{$in})"),
                ("waiting, {{pod}}", "sum by (pod) (pgbouncer_pools_client_waiting_connections{$in})"),
                ("limit", "max(pgbouncer_config_max_client_conn{$in})"),
            ),
        ),
        Panel("Longest wait", "s", (("{{pod}} {{database}}", "pgbouncer_pools_client_maxwait_seconds{$in}"),)),
        Panel(
            "Connections to the shards",
            "none",
            (
                ("{{database}}", "sum by (database) (pgbouncer_databases_database_current_connections{$in})"),
                ("limit of a bouncer", "max(pgbouncer_databases_database_max_connections{$in})"),
            ),
        ),
        Panel("Queries", "ops", (("{{database}}", _QUERIES),)),
        Panel("Time a query", "s", (("{{database}}", f"{_QUERY_TIME} / 1e6 / {_QUERIES}"),)),
        Panel(
            "Server connections in use",
            "none",
            (("{{pod}}", "sum by (pod) (pgbouncer_pools_server_active_connections{$in})"),),
        ),
    ),
)

REDIS = Page(
    "redis",
    "Headroom: Redis",
    "redis-[0-9]+",
    (
        Panel("Who leads", "none", (("{{pod}}", 'redis_instance_info{$in,role="master"}'),)),
        Panel("Commands", "ops", (("{{pod}}", "rate(redis_commands_processed_total{$in}[$r])"),)),
        Panel(
            "Memory",
            "bytes",
            (("{{pod}}", "redis_memory_used_bytes{$in}"), ("maxmemory", "max(redis_memory_max_bytes{$in})")),
        ),
        Panel("Hits", "percentunit", (("all", f"{_HITS} / ({_HITS} + {_MISSES})"),)),
        Panel("Evicted keys", "ops", (("{{pod}}", "rate(redis_evicted_keys_total{$in}[$r])"),)),
        Panel(
            "Clients",
            "none",
            (
                ("{{pod}}", "redis_connected_clients{$in}"),
                ("refused, {{pod}}", "rate(redis_rejected_connections_total{$in}[$r])"),
            ),
        ),
        Panel("Replica links", "none", (("{{pod}}", "redis_master_link_up{$in}"),)),
        Panel(
            "Slots covered",
            "none",
            (("{{pod}}", "redis_cluster_slots_ok{$in}"),),
            "Of 16384; with Sentinel there are none.",
        ),
    ),
)

H2O = Page(
    "h2o",
    "Headroom: H2O",
    "h2o-cluster-[0-9]+",
    (
        Panel(
            "Ready nodes", "none", (("ready", 'kube_statefulset_status_replicas_ready{$ns,statefulset="h2o-cluster"}'),)
        ),
        Panel(
            "Restarts",
            "none",
            (("{{pod}}", "kube_pod_container_status_restarts_total{$in}"),),
            "Each one empties the cloud.",
        ),
        Panel(
            "Memory",
            "bytes",
            (
                ("{{pod}}", 'container_memory_working_set_bytes{$in,container="h2o"}'),
                ("limit", 'max(kube_pod_container_resource_limits{$in,container="h2o",resource="memory"})'),
            ),
        ),
        Panel(
            "CPU",
            "short",
            (("{{pod}}", 'sum by (pod) (rate(container_cpu_usage_seconds_total{$in,container="h2o"}[$r]))'),),
        ),
    ),
)

PAGES = (SERVICES, POSTGRES, PGBOUNCER, REDIS, H2O)
SOURCE = DataSourceRef(type_val="prometheus", uid="$datasource")


def text(page: Page) -> str:
    """The JSON of a dashboard, the same every time."""
    made = (
        board.Dashboard(page.title)
        .uid(f"headroom-{page.name}")
        .tags(["headroom"])
        .refresh("30s")
        .time("now-3h", "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(board.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(_query("namespace", "Namespace", f'label_values(up{{pod=~"{_any(page)}"}}, namespace)'))
    )
    if page.service:
        pods = 'label_values(http_requests_total{namespace="$namespace"}, pod)'
        made.with_variable(_query("service", "Service", pods).regex("/^(.+?)(?:-canary)?-[a-z0-9]+-[a-z0-9]+$/"))
    for panel in page.panels:
        made.with_panel(_graph(panel, page))
    return JSONEncoder(sort_keys=True, indent=2).encode(made.build()) + "\n"


def _any(page: Page) -> str:
    return page.pods.replace("$service", ".+")


def _query(name: str, label: str, query: str) -> board.QueryVariable:
    return board.QueryVariable(name).label(label).datasource(SOURCE).query(query)


def _graph(panel: Panel, page: Page) -> timeseries.Panel:
    made = timeseries.Panel().title(panel.title).unit(panel.unit).datasource(SOURCE).span(WIDTH).height(HEIGHT).min(0)
    if panel.description:
        made.description(panel.description)
    for place, (legend, query) in enumerate(panel.queries):
        inside = query.replace("$in", f'$ns,pod=~"{page.pods}"').replace("$ns", 'namespace="$namespace"')
        inside = inside.replace("$r]", "$__rate_interval]")
        made.with_target(prometheus.Dataquery().ref_id("ABCDE"[place]).expr(inside).legend_format(legend))
    return made
