"""The ``dkt`` command: one module of this package per sub-command, imported only when it is called."""

from __future__ import annotations

import argparse
import atexit
import importlib
import logging
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import NoReturn

from dkt.base.errors import DktError, printable
from dkt.base.files import abandon_stdout
from dkt.base.memory import is_out_of_memory, out_of_memory
from dkt.base.stopping import Stopped, stoppable
from dkt.base.version import __version__
from dkt.bin.common.command_help import HelpFormatter, unknown_arguments, unknown_command, usage
from dkt.bin.common.kaldi_options import add_standard_options, rewrite
from dkt.util.kaldi_io import pipes_forbidden

# The commands by what they are for, as ``dkt --help`` shows them. A command is a module of this package, with
# ``_`` for ``-`` in its name, which offers add_arguments(parser) and run(args).
_TABLE = """
data and features:
  perturb-speed         copies of a data directory's utterances at other speeds
  perturb-volume        the recordings of a data directory at other volumes
  augment-data          copies of a data directory's utterances with noise added
  compute-fbank-feats   log-mel filterbanks of the recordings of a wav.scp
  compute-mfcc-feats    MFCC of the recordings of a wav.scp
  compute-cmvn-stats    CMVN statistics per speaker or per utterance
  feats                 features as a model gets them, or a table of them
  check                 is a data directory, with its alignments, fit to train on?
  fix-data              sorts a data directory, takes out what is not in all of its files
lang and language model:
  prepare-lang          a lang directory from a dictionary directory
  train-lm              an n-gram language model in ARPA form from text
  format-lm             G.fst from an ARPA language model, in a copy of a lang directory
GMM and graph:
  train-mono            a monophone GMM from a flat start
  align                 alignments of a data directory by a GMM
  copy-ali-dir          alignments of originals for their copies with noise or at other volumes
  analyze-alignments    silence, long phones and unknown words of alignments, judged
  mkgraph               the decoding graph HCLG.fst
  gmm-compute-likes     log-likelihoods per pdf of a GMM
  compute-fmllr-feats   features under fMLLR transforms of the speakers
  acc-lda               statistics for linear discriminant analysis
  est-lda               the LDA transform from statistics of acc-lda
networks:
  train                 a network of any kind, on labels, on a teacher, or on both
  train-dnn             a DNN, on labels, on a teacher, or on both
  train-lstm            an LSTM, on labels, on a teacher, or on both
  forward               posteriors, log-likelihoods or logits of a network as an archive
  export                a trained network as Kaldi, vosk or onnxruntime read it
  import                a network that Kaldi trained, to teach, to run or to train on
soft targets:
  make-soft-targets     the posteriors of a teacher, kept for its students
  soft-targets-to-post  soft targets as posteriors that Kaldi's trainers read
  copy-post             posteriors in another form
decoding and lattices:
  decode-faster-mapped  one-best decoding of log-likelihoods on a graph
  decode-scan           one-best decoding at each of several LM weights and word penalties
  latgen                lattices from log-likelihoods on a graph
  lattice-best-path     words and alignments of the best paths of lattices
  lattice-scan          best paths of lattices at each of several LM weights and word penalties
  lattice-oracle        fewest word errors of any path of lattices
  lattice-depth         how many arcs of lattices cross a frame
  lattice-copy          lattices in another form
  compute-wer           word error rate, as Kaldi prints it
  best-wer              the best word error rate of an LM-weight grid, and where it was found
Kaldi's inspectors:
  ali-to-pdf            alignments as pdf-ids
  ali-to-phones         alignments as phones
  analyze-counts        counts of labels, from which priors are made
  hmm-info              sizes of a transition model
  tree-info             sizes of a decision tree
  show-transitions      every transition-id of a model
experiments:
  info                  what directories hold, one line each, with accuracies and word error rates
  verify                are models and checkpoints as they were written?
  config-files          the files that the configuration of a training names
  report                systems compared: a table with intervals and tests, a page of figures
"""


# A name that Python keeps to itself.
_MODULES = {"import": "import_model"}


def _groups(table: str) -> dict[str, dict[str, tuple[str, str]]]:
    """The commands of each group: name to module and one-line help."""
    groups: dict[str, dict[str, tuple[str, str]]] = {}
    commands: dict[str, tuple[str, str]] = {}
    for line in table.strip().splitlines():
        if line.startswith(" "):
            name, text = line.split(maxsplit=1)
            commands[name] = (_MODULES.get(name, name.replace("-", "_")), text)
        else:
            commands = groups.setdefault(line.removesuffix(":"), {})
    return groups


GROUPS = _groups(_TABLE)
COMMANDS = {name: command for commands in GROUPS.values() for name, command in commands.items()}


# Read once, when libraries are loaded. Numpy's would start a thread for each processor in each job of a step;
# OpenMP's threads, while they wait, would use up the processor that another thread needs.
_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
_SLEEP = {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0"}

# 128 and the number of the signal, as a shell would say.
_BROKEN_PIPE = 141
_INTERRUPTED = 130
_SIGNAL = 128


class _Formatter(logging.Formatter):
    """Messages as a terminal may show them."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(printable(message))


def _concerns_the_user(record: logging.LogRecord) -> bool:
    """Whether to show what was logged: of other packages, only warnings."""
    # PyTorch, at its exit, tells of its caches, behind the error that ended the program.
    return record.levelno >= logging.WARNING or record.name.partition(".")[0] in ("dkt", "root")


def _start_logging(command: str, verbose: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(f"%(levelname)s (dkt {command}) %(message)s"))
    handler.addFilter(_concerns_the_user)
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler])


def _refuse_empty(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """No argument is empty: as a name it would be the working directory."""
    for action in parser._actions:
        value = getattr(args, action.dest, None)
        if not action.option_strings and "" in (value if isinstance(value, list) else [value]):
            parser.error(f"argument {action.metavar or action.dest}: is empty, expected a name")


def command_parser(name: str) -> argparse.ArgumentParser:
    """The parser of a command's arguments, those of every program of Kaldi's among them."""
    module_name, text = COMMANDS[name]
    # No abbreviations, as in Kaldi: a short form of a boolean option would swallow the argument behind it.
    parser = _Parser(
        prog=f"dkt {name}",
        description=text,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    importlib.import_module(f"dkt.bin.{module_name}").add_arguments(parser)
    add_standard_options(parser)
    return parser


def _run_command(name: str, argv: Sequence[str]) -> int:
    parser = command_parser(name)
    args, unknown = parser.parse_known_args(rewrite(parser, argv))
    if unknown:
        parser.error(unknown_arguments(unknown, parser))
    _refuse_empty(parser, args)
    if args.print_args:
        print(shlex.join(["dkt", name, *argv]), file=sys.stderr)
    _start_logging(name, args.verbose > 0)
    with pipes_forbidden() if args.no_pipes else nullcontext():
        return importlib.import_module(f"dkt.bin.{COMMANDS[name][0]}").run(args) or 0


def _dispatch(argv: Sequence[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        if argv[1:] and argv[0] == "help":
            return _dispatch([argv[1], "--help"])
        print(usage(GROUPS, __version__))
        return 0 if argv else 2
    if argv[0] == "--version":
        print(__version__)
        return 0
    if argv[0] not in COMMANDS:
        print(printable(f"dkt: error: {unknown_command(argv[0], list(COMMANDS))}"), file=sys.stderr)
        return 2
    return _run_command(argv[0], argv[1:])


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        abandon_stdout()
        raise DktError(f"cannot be written: {error.strerror}", path="standard output") from None


def set_thread_variables() -> None:
    """Tell libraries about threads before they are loaded, unless the user has."""
    if "OMP_NUM_THREADS" not in os.environ:
        for name in _ONE_THREAD:
            os.environ.setdefault(name, "1")
    if "GOMP_SPINCOUNT" not in os.environ:
        for name, value in _SLEEP.items():
            os.environ.setdefault(name, value)


class _Ending:
    interrupted = False


def _end_by_interrupt() -> None:
    """Die of SIGINT if that stopped the program: else a shell goes on with its script after Ctrl-C."""
    if _Ending.interrupted:
        sys.stderr.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one sub-command; the exit status is 0 for success, 1 for bad input, 2 for a wrong call.

    Bad input, a missing package and a full disk are one line on stderr, not a traceback; so is a signal that
    ends the program, with status 128 and its number. The program itself (no ``argv``) dies of SIGINT.
    """
    if argv is None:
        # The first to be registered is the last to be called.
        atexit.register(_end_by_interrupt)
        status = main(sys.argv[1:])
        _Ending.interrupted = status == _INTERRUPTED
        return status
    argv = list(argv)
    set_thread_variables()
    failure = 1
    try:
        with stoppable():
            status = _dispatch(argv)
        _flush()
        return status
    except DktError as error:
        message = str(error)
    except ModuleNotFoundError as error:
        if not error.name or error.name.split(".")[0] == "dkt":
            raise
        package = error.name.split(".")[0]
        extra = "onnx" if package.startswith("onnx") else "standalone"
        message = f"the package {package} is not installed - pip install 'dkt[{extra}]'"
    except BrokenPipeError:
        # The reader of our output has seen enough ("dkt ... | head"): nothing is left to tell anyone.
        abandon_stdout()
        return _BROKEN_PIPE
    except OSError as error:
        message = str(DktError(error.strerror or str(error), path=error.filename))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        hint = "give it less at once (shorter utterances, fewer jobs), or a machine with more memory"
        message = str(out_of_memory(error, f"dkt {argv[0]}", hint))
    except KeyboardInterrupt:
        message, failure = "interrupted", _INTERRUPTED
    except Stopped as stop:
        message, failure = str(stop), _SIGNAL + stop.signum
    print(printable(f"ERROR (dkt {argv[0]}) {message}"), file=sys.stderr)
    return failure
