"""Query what the model itself would try: training where planning looks.

An acquisition function goes where the model overestimates. Of many spare points with known values,
those of the highest expected improvement under the present weights become queries: what a point's
value is does not depend on why it was queried, so the targets stay unbiased (the idea of DAgger,
Ross et al. 2011).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from optformer.model.network import OptFormerModel
from optformer.model.tensors import PointTensors
from optformer.planning.distribution import BinnedDistribution
from optformer.tokenization.history import MetricKind
from optformer.training.mixtures.batch import Queries, StudyBatch


@torch.no_grad()
def mine(model: OptFormerModel, batch: StudyBatch, count: int) -> StudyBatch:
    """Add the spare queries of the highest expected improvement to the metric queries.

    Args:
        model: The network.
        batch: Studies with spare queries, which all see the prefix.
        count: Queries to take for each study.
    """
    spare = batch.spare
    if spare is None:
        return batch
    metadata = model.encode_metadata(batch.metadata).expand(batch.history.studies)
    given = batch.history.first(batch.prefix)
    past = model.encode_history(metadata, given)
    logits = model.metric_logits(metadata, past, spare.points)  # (B, E, Q + 1)
    measured = given.metric_kinds == MetricKind.VALUE
    best = given.metric.masked_fill(~measured, 0.0).amax(-1, keepdim=True)  # (B, 1)
    score = BinnedDistribution(logits).log_ei(best[..., None])
    top = score.topk(count, -1).indices  # (B, count)

    def taken(tensor: Tensor) -> Tensor:
        index = top[..., None].expand(-1, -1, tensor.shape[-1])
        return torch.gather(tensor, 1, index)

    drawn = batch.metrics
    position = torch.full((count,), batch.prefix, device=drawn.position.device)
    return replace(
        batch,
        metrics=Queries(
            drawn.points.join(PointTensors(taken(spare.points.values), taken(spare.points.kinds))),
            torch.cat([drawn.position, position]),
            torch.cat([drawn.target, torch.gather(spare.target, 1, top)], 1),
        ),
        spare=None,
    )
