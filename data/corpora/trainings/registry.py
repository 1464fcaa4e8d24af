"""All families of trainings."""

from __future__ import annotations

from collections.abc import Mapping

from optformer.data.corpora.trainings.control_families import CONTROL_FAMILIES
from optformer.data.corpora.trainings.direct_families import DIRECT_FAMILIES
from optformer.data.corpora.trainings.family import TrainingFamily
from optformer.data.corpora.trainings.network_families import NETWORK_FAMILIES
from optformer.data.corpora.trainings.recommendation_families import RECOMMENDATION_FAMILIES
from optformer.data.corpora.trainings.representation_families import REPRESENTATION_FAMILIES
from optformer.data.corpora.trainings.transfer_families import TRANSFER_FAMILIES

FAMILIES: Mapping[str, TrainingFamily] = {
    family.name: family
    for family in (
        *NETWORK_FAMILIES,
        *REPRESENTATION_FAMILIES,
        *TRANSFER_FAMILIES,
        *RECOMMENDATION_FAMILIES,
        *CONTROL_FAMILIES,
        *DIRECT_FAMILIES,
    )
}
"""The families by name."""
