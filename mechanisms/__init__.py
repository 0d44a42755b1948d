"""What is audited: claims, data sets, and reference mechanisms that learn and unlearn.

Names are loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechanisms.lazy import lend

if TYPE_CHECKING:
    from mechanisms.adapters.functions import from_functions
    from mechanisms.adapters.observed import ObservedOutputs
    from mechanisms.adapters.released import Coefficients, Predictions, Released, targets_for
    from mechanisms.adapters.sklearn import from_estimator
    from mechanisms.adapters.stages import EmptyForgetSetError
    from mechanisms.adapters.tables import TableRecords, from_table
    from mechanisms.adapters.torch import from_torch
    from mechanisms.adapters.torch_records import TorchRecords
    from mechanisms.claim.certificates import Certificate
    from mechanisms.claim.claims import Claim, Reference
    from mechanisms.claim.covers import Exactly, OnAverage, OneRecord, ThisSet, UpTo
    from mechanisms.claim.guarantees import Direction, EpsilonDelta, GaussianDP, PrivacyProfile
    from mechanisms.dataset import Dataset, from_arrays
    from mechanisms.errors import (
        InvalidInputError,
        NotApplicableError,
        UnlearnAuditError,
        UnreachableTargetError,
        UserFunctionError,
    )
    from mechanisms.logistic.langevin import CalibratedLogisticNoise, LogisticLangevin
    from mechanisms.networks.fine_tuning import NoisyFineTuning
    from mechanisms.networks.individual import IndividualFilter
    from mechanisms.networks.langevin import NetworkLangevin
    from mechanisms.perturbation.newton_removal import NewtonRemoval
    from mechanisms.perturbation.output_perturbation import CalibratedSigma, OutputPerturbation
    from mechanisms.protocol import (
        Access,
        Deletion,
        GaussianLaw,
        HasCertificates,
        HasLaw,
        HasParameters,
        HasPools,
        HasStages,
        HasStreams,
        HasTrajectory,
        Mechanism,
        Outputs,
        ReleaseSpec,
        ShowsLearned,
        World,
    )
    from mechanisms.reading.records import RecordList, RecordSet
    from mechanisms.ridge.downdate import ExactDowndate
    from mechanisms.ridge.langevin import CalibratedNoise, RidgeLangevin
    from mechanisms.ridge.minibatches import RidgeMinibatch
    from mechanisms.serving.snapshots import BothSnapshots
    from mechanisms.serving.stages import sample_by_stages
    from mechanisms.serving.streams import RequestStream
    from mechanisms.sources import load_file, load_named
else:
    __getattr__, __dir__ = lend(
        __name__,
        {
            "mechanisms.adapters.stages": "EmptyForgetSetError",
            "mechanisms.adapters.functions": "from_functions",
            "mechanisms.adapters.observed": "ObservedOutputs",
            "mechanisms.adapters.released": "Coefficients Predictions Released targets_for",
            "mechanisms.adapters.sklearn": "from_estimator",
            "mechanisms.adapters.tables": "TableRecords from_table",
            "mechanisms.adapters.torch": "from_torch",
            "mechanisms.adapters.torch_records": "TorchRecords",
            "mechanisms.claim.certificates": "Certificate",
            "mechanisms.claim.claims": "Claim Reference",
            "mechanisms.claim.covers": "Exactly OnAverage OneRecord ThisSet UpTo",
            "mechanisms.claim.guarantees": "Direction EpsilonDelta GaussianDP PrivacyProfile",
            "mechanisms.dataset": "Dataset from_arrays",
            "mechanisms.errors": (
                "InvalidInputError NotApplicableError UnlearnAuditError UnreachableTargetError UserFunctionError"
            ),
            "mechanisms.networks.fine_tuning": "NoisyFineTuning",
            "mechanisms.networks.individual": "IndividualFilter",
            "mechanisms.logistic.langevin": "CalibratedLogisticNoise LogisticLangevin",
            "mechanisms.networks.langevin": "NetworkLangevin",
            "mechanisms.perturbation.newton_removal": "NewtonRemoval",
            "mechanisms.perturbation.output_perturbation": "CalibratedSigma OutputPerturbation",
            "mechanisms.protocol": (
                "Access Deletion GaussianLaw HasCertificates HasLaw HasParameters HasPools HasStages HasStreams "
                "HasTrajectory Mechanism Outputs ReleaseSpec ShowsLearned World"
            ),
            "mechanisms.reading.records": "RecordList RecordSet",
            "mechanisms.ridge.downdate": "ExactDowndate",
            "mechanisms.ridge.langevin": "CalibratedNoise RidgeLangevin",
            "mechanisms.ridge.minibatches": "RidgeMinibatch",
            "mechanisms.serving.snapshots": "BothSnapshots",
            "mechanisms.sources": "load_file load_named",
            "mechanisms.serving.stages": "sample_by_stages",
            "mechanisms.serving.streams": "RequestStream",
        },
    )

__all__ = [
    "Access",
    "BothSnapshots",
    "CalibratedLogisticNoise",
    "CalibratedNoise",
    "CalibratedSigma",
    "Certificate",
    "Claim",
    "Coefficients",
    "Dataset",
    "Deletion",
    "Direction",
    "EmptyForgetSetError",
    "EpsilonDelta",
    "ExactDowndate",
    "Exactly",
    "GaussianDP",
    "GaussianLaw",
    "HasCertificates",
    "HasLaw",
    "HasParameters",
    "HasPools",
    "HasStages",
    "HasStreams",
    "HasTrajectory",
    "IndividualFilter",
    "InvalidInputError",
    "LogisticLangevin",
    "Mechanism",
    "NetworkLangevin",
    "NewtonRemoval",
    "NoisyFineTuning",
    "NotApplicableError",
    "ObservedOutputs",
    "OnAverage",
    "OneRecord",
    "OutputPerturbation",
    "Outputs",
    "Predictions",
    "PrivacyProfile",
    "RecordList",
    "RecordSet",
    "Reference",
    "ReleaseSpec",
    "Released",
    "RequestStream",
    "RidgeLangevin",
    "RidgeMinibatch",
    "ShowsLearned",
    "TableRecords",
    "ThisSet",
    "TorchRecords",
    "UnlearnAuditError",
    "UnreachableTargetError",
    "UpTo",
    "UserFunctionError",
    "World",
    "from_arrays",
    "from_estimator",
    "from_functions",
    "from_table",
    "from_torch",
    "load_file",
    "load_named",
    "sample_by_stages",
    "targets_for",
]
