"""eSpeak NG, from the package espeakng-loader, by its C interface.

Constants and signatures are those of eSpeak NG's header speak_lib.h.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np

from dkt.base.errors import DktError

_INSTALL = "pip install 'dkt[synthetic]'"

_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000
_CHARS_UTF8 = 1
_PHONEMES = 0x100
_POS_CHARACTER = 1
_RATE, _PITCH, _RANGE, _WORDGAP = 1, 3, 4, 7

_SynthCallback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def check_installed() -> None:
    """Fail early where the package is missing.

    Raises:
        DktError: it is not installed.
    """
    try:
        import espeakng_loader  # noqa: F401
    except ImportError as error:
        raise DktError("the package espeakng-loader is not installed", hint=_INSTALL) from error


def data_folder() -> Path:
    """The folder of voices, dictionaries and phonemes that the package brings."""
    import espeakng_loader

    return Path(espeakng_loader.get_data_path())


class Synthesiser:
    """The library, initialised and seeded. Its state is global: make one per process.

    What it returns depends on all it has synthesised before, even after it is seeded anew: the same calls in
    the same order in a fresh process give the same samples.

    Args:
        seed: seed of the library's random numbers.
        data: a folder of eSpeak NG's data in place of the package's own.

    Raises:
        DktError: the package is missing, too old or broken.
    """

    def __init__(self, seed: int, data: str | None = None) -> None:
        check_installed()
        import espeakng_loader

        library = espeakng_loader.get_library_path()
        try:
            self._lib = ctypes.CDLL(library)
            set_seed = self._lib.espeak_ng_SetRandSeed
        except (OSError, AttributeError) as error:
            raise DktError(f"not a usable eSpeak NG 1.52: {error}", path=library, hint=_INSTALL) from error
        # It keeps the path in a buffer of fixed size.
        hint = _INSTALL if data is None else "set TMPDIR to a directory with a short path"
        data = data or str(data_folder())
        self.rate: int = self._lib.espeak_Initialize(
            _AUDIO_OUTPUT_SYNCHRONOUS, 0, data.encode(), _INITIALIZE_DONT_EXIT
        )
        if self.rate <= 0:
            raise DktError("eSpeak NG does not accept its data", path=data, hint=hint)
        set_seed.argtypes = [ctypes.c_long]
        set_seed(seed)
        self._lib.espeak_Synth.argtypes = [
            ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int,
            ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p,
        ]  # fmt: skip
        self._lib.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self._lib.espeak_TextToPhonemes.argtypes = [
            ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int,
        ]  # fmt: skip
        self._chunks: list[np.ndarray] = []
        # The library keeps only a pointer: Python must keep the object.
        self._callback = _SynthCallback(self._receive)
        self._lib.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples: ctypes._Pointer[ctypes.c_short], count: int, events: int | None) -> int:
        if samples and count:
            self._chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def set_voice(self, voice: str) -> None:
        """Choose a voice, ``<language>`` or ``<language>+<variant>``.

        Raises:
            DktError: the library has no such voice.
        """
        if self._lib.espeak_SetVoiceByName(voice.encode()) != 0:
            raise DktError(f"eSpeak NG has no voice '{voice}'")

    def phonemes(self, text: str) -> list[list[str]]:
        """The phonemes of each word of a text, as the voice that was set says it.

        Args:
            text: words without punctuation; the library may make one word of two.

        Returns:
            phonemes by eSpeak NG's names, with the marks of stress before them.
        """
        pointer = ctypes.c_char_p(text.encode())
        # Names are ASCII (mode 0), with this character between them.
        spoken = self._lib.espeak_TextToPhonemes(ctypes.byref(pointer), _CHARS_UTF8, ord("_") << 8)
        return [word.split("_") for word in (spoken or b"").decode().split()]

    def synthesise(self, text: str, rate: int, pitch: int, pitch_range: int, word_gap: int) -> np.ndarray:
        """Speak ``text`` with the voice that was set.

        Args:
            text: what to say: words, or phonemes in ``[[`` and ``]]``.
            rate: words per minute.
            pitch: 0 to 100, 50 being the voice's own.
            pitch_range: 0 to 100, 50 being the voice's own.
            word_gap: pause between words, in 10 ms at the normal rate.

        Returns:
            int16 ``(num_samples,)`` at ``self.rate`` Hz.

        Raises:
            DktError: the library failed or returned nothing.
        """
        settings = {_RATE: rate, _PITCH: pitch, _RANGE: pitch_range, _WORDGAP: word_gap}
        for parameter, value in settings.items():
            self._lib.espeak_SetParameter(parameter, value, 0)
        self._chunks.clear()
        data = text.encode() + b"\0"
        flags = _CHARS_UTF8 | (_PHONEMES if text.startswith("[[") else 0)
        status = self._lib.espeak_Synth(data, len(data), 0, _POS_CHARACTER, 0, flags, None, None)
        if status != 0 or not self._chunks:
            raise DktError(f"eSpeak NG could not say '{text}' (status {status})")
        return np.concatenate(self._chunks)
