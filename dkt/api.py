"""What Python programs do with dkt beyond reading and writing: run a model, make soft targets, train.

``import dkt`` offers this, with what it needs of other modules. T frames, F features, P pdfs, K kept pdfs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
import torch

from dkt.base import ranges
from dkt.base.directory_kinds import Kind, refuse_other_kinds
from dkt.base.directory_lock import hold_directory
from dkt.base.errors import DktError
from dkt.base.tally import DEFAULT_MAX_DROPPED, Tally
from dkt.dataset.cache import FOLDER
from dkt.feat.reader import FeatureReader
from dkt.feat.speaker_inputs import SideInputs
from dkt.hmm.alignments import AlignmentDir
from dkt.hmm.counts import load_counts
from dkt.nnet import threads
from dkt.nnet.forward import forward, network_output
from dkt.nnet.model_file import ModelInfo, load_model, model_file
from dkt.nnet.network import Network
from dkt.nnet.networks import layers_text
from dkt.nnet.pdf_prior import DEFAULT_PRIOR_FLOOR, log_priors
from dkt.nnet.scorer import ModelScorer, OutputOptions
from dkt.targets.kaldi_posteriors import Form, targets_from_posteriors
from dkt.targets.soft_targets import SoftTargets, TargetHeader, top_k_targets
from dkt.targets.store import SoftTargetWriter, TargetDir
from dkt.targets.teacher import TeachingOptions, target_header
from dkt.targets.top_k import ALL, DEFAULT, TopK
from dkt.train.experiment import COUNTS
from dkt.train.inputs import Sources
from dkt.train.recipes import Recipe, load_recipe
from dkt.train.training import train_network
from dkt.util.data_dir import DataDir

#: The name of a file or a directory.
Name: TypeAlias = str | Path

#: Where the tail of soft targets is computed unless told otherwise, as of ``dkt make-soft-targets``.
TEMPERATURES = (1.0, 2.0, 5.0)
# Mean posteriors of the training data, of steps/make_priors.sh, come before counts of labels, as in Kaldi.
_COUNTS = ("prior_counts", COUNTS)


class Model:
    """A trained network of dkt and the feature pipeline that it was trained with.

    Everything takes one whole utterance at a time and computes on the device of the network, in as many CPU
    threads as PyTorch is set to.

    Args:
        info: what the network expects and gives.
        network: the network, a ``torch.nn.Module`` in evaluation mode.
        path: its file.
    """

    def __init__(self, info: ModelInfo, network: Network, path: Path) -> None:
        self.info = info
        self.network = network
        self.path = path
        self._priors: dict[tuple[str, float], np.ndarray] = {}

    @classmethod
    def load(cls, path: Name, device: str | torch.device = "cpu") -> Self:
        """Read a model; nothing in its file is executed.

        Args:
            path: a ``final.pt``, or the directory that it is in.
            device: where it shall compute: cpu, cuda or cuda:N.

        Raises:
            DktError: there is none, it is damaged or not dkt's, or there is no such device.
        """
        file = model_file(_named(path, "path"))
        return cls(*load_model(file, _device(device)), file)

    def __repr__(self) -> str:
        info = self.info
        kind = f"{info.kind} {layers_text(info.network)}".strip()
        return f"<dkt.Model {self.path}: {kind}, {info.feature_dim} features, {info.num_pdfs} pdfs>"

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.network.shift.device

    @property
    def feature_dim(self) -> int:
        """F, the dimension of the features after the pipeline, before the network splices them."""
        return self.info.feature_dim

    @property
    def num_pdfs(self) -> int:
        """P."""
        return self.info.num_pdfs

    def features(
        self,
        data: Name | DataDir,
        *,
        transform_dir: Name | None = None,
        ivectors: Name | None = None,
        max_dropped: float = DEFAULT_MAX_DROPPED,
    ) -> Iterator[tuple[str, np.ndarray]]:
        """The features of a data directory as this model takes them, in the order of ``feats.scp``.

        Args:
            data: the data directory; CMVN, deltas and so on are done as in the training of the model.
            transform_dir: fMLLR transforms (``trans.1`` and so on), for a model that was trained with them.
            ivectors: i-vectors, for a model that was trained with them: a directory or an rspecifier.
            max_dropped: the share of the utterances that may lack features, transforms or i-vectors. Each of
                those is left out with a warning; more of them are an error, after the last utterance.

        Returns:
            Utterances and their features, float32 of shape ``(T, F)``.

        Raises:
            DktError: no data directory, or features that cannot be made.
        """
        tally = Tally("features", max_dropped)
        return _counted(_reader(self, data, _side(transform_dir, ivectors), tally), tally)

    def posteriors(self, features: np.ndarray) -> np.ndarray:
        """Posteriors p(pdf | x) of one utterance.

        Args:
            features: as ``Model.features`` gives them, shape ``(T, F)``.

        Returns:
            float32 of shape ``(T, P)``; each row sums to one.

        Raises:
            DktError: features of another dimension, without frames, or with a value that is not a number.
        """
        return self._output(features, OutputOptions())

    def log_posteriors(self, features: np.ndarray) -> np.ndarray:
        """The natural logarithm of the posteriors; arguments and errors as of ``posteriors``."""
        return self._output(features, OutputOptions(apply_log=True))

    def logits(self, features: np.ndarray) -> np.ndarray:
        """The output before the softmax; arguments and errors as of ``posteriors``."""
        return self._output(features, OutputOptions(no_softmax=True))

    def log_likelihoods(
        self,
        features: np.ndarray,
        counts: Name | np.ndarray | None = None,
        *,
        prior_scale: float = 1.0,
        prior_floor: float = DEFAULT_PRIOR_FLOOR,
    ) -> np.ndarray:
        """What a decoder takes: log p(x | pdf) but for a constant of the frame, log-posterior less log-prior.

        Args:
            features: as of ``posteriors``.
            counts: how often each pdf was in the training data: a file, or values of shape ``(P,)``; None for
                ``prior_counts`` or else ``ali_train_pdf.counts`` beside the model.
            prior_scale: multiplies the log-priors.
            prior_floor: a pdf of a smaller relative frequency is disabled, see ``dkt.nnet.pdf_prior``.

        Returns:
            float32 of shape ``(T, P)``, in natural-log units.

        Raises:
            DktError: as ``posteriors``; or there are no counts, or of another number of pdfs.
        """
        priors = self._log_priors(counts, prior_floor)
        options = OutputOptions(apply_log=True, log_priors=priors, prior_scale=prior_scale)
        options.check(self.num_pdfs)
        return self._output(features, options)

    def soft_targets(
        self,
        features: np.ndarray,
        top_k: int | str | TopK = DEFAULT,
        temperatures: Sequence[float] = TEMPERATURES,
    ) -> SoftTargets:
        """The posteriors of one utterance as a student learns them.

        Args:
            features: as of ``posteriors``.
            top_k: K, how many posteriors of each frame are kept; or ``all``.
            temperatures: T at which the mass of the others is known.

        Returns:
            Tensors on the CPU, see ``dkt.targets.soft_targets.SoftTargets``.

        Raises:
            DktError: as ``posteriors``; K above P, or a temperature that is not above 0.
        """
        log_post = torch.from_numpy(self.log_posteriors(features))
        return top_k_targets(log_post, _top_k(top_k).of(self.num_pdfs), temperatures)

    def _output(self, features: np.ndarray, options: OutputOptions) -> np.ndarray:
        try:
            frames = np.asarray(features, dtype=np.float32)
        except (TypeError, ValueError):
            what = type(features).__name__
            raise DktError(
                f"the features are a {what}, expected a matrix of {self.feature_dim} columns"
            ) from None
        scorer = ModelScorer(self.info, self.network, options, self.device)
        try:
            return network_output(scorer, frames, options)
        except DktError as error:
            raise DktError(str(error), path=self.path) from None

    def _log_priors(self, counts: Name | np.ndarray | None, floor: float) -> np.ndarray:
        if isinstance(counts, np.ndarray):
            if counts.ndim != 1 or not (np.isfinite(counts).all() and (counts >= 0).all() and counts.any()):
                raise DktError("the counts are not frames of each pdf: numbers from 0 on, in one vector")
            return log_priors(counts, floor)
        if counts is None:
            places = [self.path.parent / name for name in _COUNTS]
            counts = next((place for place in places if place.is_file()), places[-1])
        key = (str(counts), floor)
        if key not in self._priors:
            self._priors[key] = log_priors(load_counts(key[0]), floor)
        return self._priors[key]


def make_soft_targets(
    teacher: Name | Model,
    data: Name | DataDir,
    directory: Name,
    *,
    top_k: int | str | TopK = DEFAULT,
    temperatures: Sequence[float] = TEMPERATURES,
    transform_dir: Name | None = None,
    ivectors: Name | None = None,
    max_dropped: float = DEFAULT_MAX_DROPPED,
    num_threads: int = 1,
    steal_lock: bool = False,
) -> TargetDir:
    """Run a teacher over a data directory and keep what it says, as ``dkt make-soft-targets``.

    Args:
        teacher: a model; by its name it computes on the CPU.
        data, transform_dir, ivectors, max_dropped: as of ``Model.features``.
        directory: where the soft targets shall be; those of before are replaced.
        top_k, temperatures: as of ``Model.soft_targets``.
        num_threads: CPU threads.
        steal_lock: take the directory from another process.

    Returns:
        The directory, opened: a mapping of utterances to ``SoftTargets``.

    Raises:
        DktError: bad data, a directory that holds something else, or too many utterances lost.
    """
    model = teacher if isinstance(teacher, Model) else Model.load(teacher)
    header = target_header(model.info, model.network, _top_k(top_k), tuple(map(float, temperatures)))
    tally = Tally("soft targets", max_dropped)
    reader = _reader(model, data, _side(transform_dir, ivectors), tally)
    options = OutputOptions(apply_log=True)
    scorer = ModelScorer(model.info, model.network, options, model.device)
    path = _named(directory, "directory")
    refuse_other_kinds(path, Kind.TARGETS)
    with (
        threads.using(_threads(num_threads)),
        hold_directory(path, "dkt.make_soft_targets", steal_lock),
        SoftTargetWriter(path, header) as writer,
    ):
        forward(scorer, reader, options, writer, str(reader.data.path), tally)
    return TargetDir(path)


def write_soft_targets(
    directory: Name,
    posteriors: Iterable[tuple[str, np.ndarray]],
    *,
    top_k: int | str | TopK = DEFAULT,
    temperatures: Sequence[float] = TEMPERATURES,
    form: Form = "posteriors",
    steal_lock: bool = False,
) -> TargetDir:
    """Keep the posteriors of any teacher, one of dkt's or not, for its students.

    Args:
        directory, top_k, temperatures, steal_lock: as of ``make_soft_targets``.
        posteriors: utterances and matrices of shape ``(T, P)``.
        form: what the matrices hold: posteriors, log-posteriors (natural) or logits.

    Returns:
        As ``make_soft_targets``.

    Raises:
        DktError: no utterance, or what are not posteriors of the same P pdfs.
    """
    path = _named(directory, "directory")
    refuse_other_kinds(path, Kind.TARGETS)
    utterances = iter(posteriors)
    utt, values = next(utterances, ("", None))
    if values is None:
        raise DktError("there is no utterance to write", path=path)
    num_pdfs = int(np.shape(values)[-1]) if np.ndim(values) == 2 else 0
    if num_pdfs == 0:
        raise DktError(f"{form} of shape {np.shape(values)}, expected (T, P)", path=path, utt=utt)
    header = TargetHeader("", num_pdfs, _top_k(top_k).of(num_pdfs), tuple(map(float, temperatures)), {})
    # What is there is not replaced by what is wrong from its first utterance on.
    first = _targets(utt, values, header, form, path)
    with (
        hold_directory(path, "dkt.write_soft_targets", steal_lock),
        SoftTargetWriter(path, header) as writer,
    ):
        writer.write(utt, first)
        for utt, values in utterances:
            writer.write(utt, _targets(utt, values, header, form, path))
    return TargetDir(path)


def _targets(utt: str, values: np.ndarray, header: TargetHeader, form: Form, path: Path) -> SoftTargets:
    try:
        matrix = np.asarray(values, dtype=np.float32)
        return targets_from_posteriors(matrix, header.num_pdfs, header.top_k, header.temperatures, form)
    except (TypeError, ValueError):
        raise DktError(f"{form} that are not a matrix of numbers", path=path, utt=utt) from None
    except DktError as error:
        raise DktError(str(error), path=path, utt=utt) from None


def train_nnet(
    config: Name | Mapping[str, Any] | None,
    data_train: Name | DataDir,
    data_dev: Name | DataDir,
    ali_train: Name | AlignmentDir | None,
    ali_dev: Name | AlignmentDir | None,
    exp_dir: Name,
    *,
    soft_targets: Name | TargetDir | None = None,
    soft_targets_dev: Name | TargetDir | None = None,
    teacher: Name | Model | None = None,
    teacher_data_train: Name | DataDir | None = None,
    teacher_data_dev: Name | DataDir | None = None,
    top_k: int | str | TopK = DEFAULT,
    targets_form: Form | None = None,
    transition_ids: bool = False,
    hmm_dir: Name | None = None,
    init_model: Name | Model | None = None,
    transform_dir: Name | None = None,
    transform_dir_dev: Name | None = None,
    ivectors: Name | None = None,
    ivectors_dev: Name | None = None,
    max_dropped: float = DEFAULT_MAX_DROPPED,
    cache_dir: Name | None = None,
    steal_lock: bool = False,
    device: str | torch.device = "cpu",
    num_threads: int = 1,
    **sections: Mapping[str, Any],
) -> Model:
    """Train a network, as ``dkt train``, whose options these arguments are.

    The same configuration, data, device and seed give the same model as the command, bit by bit. A training
    that was interrupted goes on; one that has ended is not done again.

    Args:
        config: a YAML file, or the same as a mapping; None for the defaults.
        data_train, data_dev: data directories, for training and for cross-validation.
        ali_train, ali_dev: their alignment directories; None, both, where a teacher alone labels the data.
        exp_dir: where the experiment shall be.
        soft_targets, soft_targets_dev: directories of soft targets, or rspecifiers of posteriors.
        teacher: the model that is run now; beside ``soft_targets``, the one they must be of.
        teacher_data_train, teacher_data_dev: data directories with the features of the teacher that is run.
        top_k: posteriors that are kept of a teacher that is run, or of an archive.
        targets_form, transition_ids: of archives, see ``dkt.targets.teacher.TeachingOptions``.
        hmm_dir: of data without alignments: where ``final.mdl`` and ``ali_train_pdf.counts`` are.
        init_model: the model whose weights are begun with.
        transform_dir, transform_dir_dev, ivectors, ivectors_dev: speaker inputs, see ``Model.features``.
        max_dropped: the share of the utterances that may be lost.
        cache_dir: where packed features are kept; ``none`` for nowhere, None for the data directories.
        steal_lock: take the directory from another process.
        device: cpu, cuda or cuda:N.
        num_threads: CPU threads; the result does not depend on them.
        sections: keys that are set beside ``config``, and win: ``objective={"mode": "soft"}``.

    Returns:
        The trained model, on the device.

    Raises:
        DktError: as the command tells it.
    """
    where = _device(device)
    recipe = _recipe(config, sections)
    directory = _named(exp_dir, "exp_dir")
    teaching = TeachingOptions(
        soft_targets=_text(soft_targets),
        soft_targets_dev=_text(soft_targets_dev),
        teacher=_text(teacher),
        teacher_data_train=_text(teacher_data_train),
        teacher_data_dev=_text(teacher_data_dev),
        top_k=ALL if recipe.objective.needs_logits else _top_k(top_k),
        form=targets_form,
        transition_ids=transition_ids,
    )
    sources = Sources(
        _data_dir(data_train),
        _data_dir(data_dev),
        _ali_dir(ali_train),
        _ali_dir(ali_dev),
        teaching,
        hmm_dir=None if hmm_dir is None else Path(hmm_dir),
        init_model=None if init_model is None else Path(_text(init_model) or ""),
        max_dropped=max_dropped,
        side_train=_side(transform_dir, ivectors),
        side_dev=_side(transform_dir_dev, ivectors_dev),
        cache_dir=_text(cache_dir),
        cache_otherwise=directory / FOLDER,
    )
    with threads.using(_threads(num_threads)):
        train_network(recipe, sources, directory, where, steal_lock, "dkt.train_nnet")
    return Model.load(directory, where)


def _recipe(config: Name | Mapping[str, Any] | None, sections: Mapping[str, Any]) -> Recipe:
    settings = [f"{name}={_plain(values)}" for name, values in sections.items()]
    if config is None or isinstance(config, Mapping):
        recipe = load_recipe(None, None, settings, values=json.loads(_plain(config or {})))
    else:
        recipe = load_recipe(None, _named(config, "config"), settings)
    recipe.features.check_files()
    return recipe


def _plain(values: Any) -> str:
    """Values of a configuration as JSON, which is YAML too."""

    def convert(value: Any) -> Any:
        if isinstance(value, Mapping):
            return dict(value)
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, Path):
            return str(value)
        raise TypeError

    try:
        return json.dumps(values, default=convert)
    except (TypeError, ValueError, RecursionError):
        raise DktError(f"a configuration has numbers, texts, lists and mappings, found {values!r}") from None


def _named(name: Name, what: str) -> Path:
    """A path that was given; an empty name would be the working directory."""
    if not str(name) or not isinstance(name, (str, Path)):
        raise DktError(f"'{what}' is {name!r}, expected the name of a file or directory")
    return Path(name)


def _text(given: Name | DataDir | TargetDir | Model | None) -> str | None:
    """The name of what was given by its name or opened."""
    if isinstance(given, TargetDir):
        return str(given.directory)
    return None if given is None else str(given.path if isinstance(given, (DataDir, Model)) else given)


def _data_dir(data: Name | DataDir) -> DataDir:
    return data if isinstance(data, DataDir) else DataDir(_named(data, "data"))


def _ali_dir(ali: Name | AlignmentDir | None) -> AlignmentDir | None:
    return ali if ali is None or isinstance(ali, AlignmentDir) else AlignmentDir(_named(ali, "ali"))


def _side(transform_dir: Name | None, ivectors: Name | None) -> SideInputs:
    side = SideInputs(_text(transform_dir), _text(ivectors))
    side.check()
    return side


def _top_k(given: int | str | TopK) -> TopK:
    if isinstance(given, TopK):
        return given
    try:
        return TopK.parse(str(given))
    except ValueError as error:
        raise DktError(f"'top_k': {error}") from None


def _device(name: str | torch.device) -> torch.device:
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        device = torch.device("meta")
    if device.type == "cpu":
        return device
    if device.type != "cuda":
        raise DktError(f"'device' is {name}, expected cpu, cuda or cuda:N")
    if not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count():
        raise DktError(f"'device' is {name}, and PyTorch finds no such GPU", hint="compute on cpu")
    return device


def _threads(number: int) -> threads.Fixed:
    if not isinstance(number, int):
        raise DktError(f"'num_threads' is {number!r}, expected {ranges.THREADS}")
    ranges.THREADS.check(number, "num_threads")
    return threads.Fixed(number)


def _reader(model: Model, data: Name | DataDir, side: SideInputs, tally: Tally) -> FeatureReader:
    """The features that a model takes; utterances that lack something are counted as dropped."""
    reader = FeatureReader(_data_dir(data), model.info.feature_options, side)
    reader.drop_missing(tally)
    return reader


def _counted(reader: FeatureReader, tally: Tally) -> Iterator[tuple[str, np.ndarray]]:
    for utterance in reader:
        yield utterance
        tally.done()
    tally.finish(str(reader.data.path))
