"""Aggregation of the hospitals' updates by Flower's own strategies; weights are declared rows, where used."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg, FedMedian, FedTrimmedAvg, Krum

from common.arrays import Weights
from common.study.sections import AggregationKind

AGGREGATORS: dict[AggregationKind, Callable[[int], FedAvg]] = {
    "mean": lambda hospitals: FedAvg(),
    "median": lambda hospitals: FedMedian(),
    # With three hospitals or more, at least one is trimmed at either end.
    "trimmed-mean": lambda hospitals: FedTrimmedAvg(beta=max(0.2, 1 / hospitals) if hospitals > 2 else 0.0),
    "krum": lambda hospitals: Krum(num_malicious_nodes=max(0, (hospitals - 3) // 2)),
}


def aggregate(kind: AggregationKind, updates: Mapping[str, Weights], rows: Mapping[str, int]) -> Weights:
    """Return the aggregate of several hospitals' weights.

    Args:
        kind: the rule of aggregation, a key of `AGGREGATORS`.
        updates: weights by hospital, all of the same names and shapes.
        rows: declared training rows by hospital; the mean weighs by them.
    """
    replies = []
    for hospital in sorted(updates):
        arrays = ArrayRecord({name: Array(np.ascontiguousarray(value)) for name, value in updates[hospital].items()})
        content = RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": rows[hospital]})})
        replies.append(Message(content, dst_node_id=0, message_type="train"))
    arrays_out, _ = AGGREGATORS[kind](len(updates)).aggregate_train(0, replies)
    assert arrays_out is not None, "aggregate needs at least one update"
    return {name: array.numpy().astype(np.float32) for name, array in arrays_out.items()}
