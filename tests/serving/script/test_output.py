from __future__ import annotations

import time
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optformer.data.studies.errors import ConfigError, MetricError
from optformer.serving.script import output
from optformer.serving.script.output import NamedMetric, PatternMetric, Report, lines_of


def find(text: str, metric: str = "acc") -> Report | None:
    return NamedMetric(metric).find(lines_of(text))


def number(text: str, metric: str = "acc") -> float | None:
    """The metric; None where the report that counts has no number."""
    report = find(text, metric)
    assert report is not None
    return None if report.number is None else float(report.number.replace("\u2212", "-"))


numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(
    numbers,
    st.sampled_from(
        [
            "acc: {}",
            "acc={}",
            "  acc :  {}",
            "Acc: {}",
            "epoch 3 - loss: 0.1 - acc: {} - val_acc: 0.6",
            "{{'loss': 1, 'acc': {}}}",
            '{{"acc": "{}"}}',
            "acc: np.float64({})",
            "{{'acc': np.float64({})}}",
            "acc: tensor({})",
            "acc: tensor({}, device='cuda:0', grad_fn=<DivBackward0>)",
            "acc: torch.tensor([[{}]])",
            "acc: array({}, dtype=float32)",
            "acc: [{}]",
            "acc: ({},)",
            "acc: Array({}, dtype=float32)",
            "acc: <tf.Tensor: shape=(), dtype=float32, numpy={}>",
            "acc: Decimal('{}')",
            "acc: {}%",
            "acc: {} (best)",
            "acc: {}, loss: 3",
            "acc: {}.",
            "acc: {} ± 0.1",
            "acc: {} - 3s/step",
            "acc: {}, 12 s",
            "acc: {} to beat",
            "acc: {} [0.1, 0.2]",
            "\x1b[1;32macc\x1b[0m: \x1b[31m{}\x1b[0m",
            "\x1b]0;title\x07acc: {}",
            "\x9b1macc: {}\x9b0m",
            "**acc**: {}",
            "10%\racc: {}\r",
            "acc: 0\b\b\b\b\b\bacc: {}",
        ],
    ),
)
def test_named_metric__any_number_in_any_dress__read(value: float, line: str) -> None:
    assert number(line.format(repr(value))) == value


@given(st.floats(max_value=-1e-300, allow_infinity=False))
def test_named_metric__typographic_minus__read(value: float) -> None:
    assert number(f"acc: \u2212{-value!r}") == value


@given(
    st.integers(0, 99999),
    st.integers(1, 99999),
    st.sampled_from(
        [
            "{}/{}",
            "{} / {}",
            "{}:{}",
            "{}.{}.1",
            "{}-{}",
            "{}.5-{}",
            "{} of {}",
            "{} out of {}",
            "{}*10^{}",
            "{} \u00d7 10",
            "{}^{}",
            "{}%/{}%",
            "{}e",
            "{}fold",
            "{}h{}m",
            "{}+{}j",
            "({}+{}j)",
            "[{}, {}]",
            "({}, {})",
            "Fraction({}, {})",
            "datetime.date({}, {}, 1)",
            "tensor([{}, {}])",
            "0x{}",
            "1_{}",
            "{}'{}",
            "2024-05-{}",
            "{}..{}",
            "0.{}..0.{}",
            "{} -> {}",
            "0.{} to 0.{}",
            "{}\u2192{}",
            "0.{}, 0.{}",
            "{}-fold",
            "~{}",
            "<{}",
            "\u2248 {}",
            "${}",
        ]
    ),
)
def test_named_metric__figures_that_are_no_number__not_read(one: int, two: int, text: str) -> None:
    printed = text.format(one, two)
    assert number(f"acc: {printed}") is None
    assert number(f"acc: 0.5\nacc: {printed}") is None  # nor is what stood there before


@given(st.integers(1, 999), st.integers(0, 999), st.sampled_from(" ,\u00a0\u202f'"))
def test_named_metric__thousands_set_apart__not_read(one: int, two: int, between: str) -> None:
    assert number(f"acc: {one}{between}{two:03}") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("acc: 0.5\nacc: 0.7\nbye", 0.7),
        ("acc: 0.5, acc: 0.7", 0.7),
        ("acc: 0.5\nacc: unknown", 0.5),
        ("acc: -inf", float("-inf")),
        ("acc: 1e400", float("inf")),
        ("acc: 12 epochs", 12.0),
        ("acc: 0.5 100", 0.5),
        ("acc:0.5,val_acc:0.6", 0.5),
    ],
)
def test_named_metric__several_reports__the_last_counts(text: str, expected: float) -> None:
    assert number(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "done",
        "acc 0.9",
        "val_acc: 0.9",
        "val/acc: 0.9",
        "acc_top5: 0.9",
        "acc:\n0.9",
        "acc: no",
    ],
)
def test_named_metric__no_report__nothing(text: str) -> None:
    assert find(text) is None


SPLITS = ["train", "val", "test", "validation", "eval", "Training", "dev", "best", "top-5", "fold2"]
PLACES = [
    "{} acc: {}",
    "epoch 3 {} acc: {}",
    "{{'{} acc': {}}}",
]
PARTS = [
    "[{}] acc: {}",
    "{}: acc={}",
    "{} | loss: 0.1 | acc: {}",
    "({}) loss: 0.1, acc: {}",
    "{{'{}': {{'loss': 0.1, 'acc': {}}}}}",
    "{} loss: 0.3 acc: {}",
    "acc: {1} ({0})",
    "acc: {1} on [{0}]",
    "{}:acc={}",
    "{}:\n  acc: {}",
    "{}:\nacc: {}",
    "=== {} ===\nacc: {}",
    "[{}]\nacc: {}",
    "## {}\n\nacc: {}",
    '"{}": {{\n    "acc": {}\n}},',
]


@given(
    st.lists(st.sampled_from(SPLITS), min_size=2, max_size=4, unique_by=lambda s: s.lower()[:3]),
    st.sampled_from(PLACES),
    st.sampled_from(["\n", " ", ", "]),
)
def test_named_metric__under_several_longer_names__refused(
    splits: list[str], place: str, between: str
) -> None:
    text = between.join(place.format(split, n / 10) for n, split in enumerate(splits))
    with pytest.raises(MetricError, match=r"'acc' is ambiguous: line .* name the metric in full"):
        find(text)


@pytest.mark.parametrize("place", PARTS)
@pytest.mark.parametrize("pair", [*permutations(["train", "val"]), ("Training", "Evaluation")])
def test_named_metric__in_several_parts_of_the_output__refused(
    place: str, pair: tuple[str, str]
) -> None:
    text = "\n".join(place.format(split, n / 10) for n, split in enumerate(pair))
    with pytest.raises(MetricError, match="'acc' is ambiguous"):
        find(text)


@pytest.mark.parametrize("place", [*PLACES, *PARTS])
def test_named_metric__always_in_the_same_place__read(place: str) -> None:
    assert number("\n".join(place.format("val", n) for n in (1, 2, 3))) == 3


@pytest.mark.parametrize("place", PLACES[:2])
@pytest.mark.parametrize("first", [True, False])
def test_named_metric__named_in_full__told_from_the_others(place: str, first: bool) -> None:
    lines = [place.format("val", 0.8), place.format("train", 0.99)]
    assert number("\n".join(lines if first else lines[::-1]), "val acc") == 0.8


@pytest.mark.parametrize("longer", ["train acc: 0.99", "top-5 acc: 0.99", "best acc: 0.99"])
def test_named_metric__bare_name_beside_longer_ones__counts(longer: str) -> None:
    assert number(f"acc: 0.8\n{longer}") == 0.8
    assert number(f"{longer}\nacc: 0.8") == 0.8


@pytest.mark.parametrize(
    "text",
    [
        "epoch 1 acc: 0.5\nFinished training\nacc: 0.9",
        "epoch 1, acc: 0.5\nfinished training, acc: 0.9",
        "epoch1 acc: 0.5\nepoch2 acc: 0.9",
        "step-100 acc: 0.5\nstep-200 acc: 0.9",
        "loss nan acc: 0.5\nloss nan acc: 0.9",
        "12:00:01 [INFO] acc: 0.5\n12:00:02 [INFO] acc: 0.9",
        "runs/test.py:3 acc: 0.5\nruns/test.py:4 acc: 0.9",
        "Epoch 1\n - loss: 0.1 - acc: 0.5\nEpoch 2\n - loss: 0.1 - acc: 0.9",
    ],
)
def test_named_metric__counters_and_sentences_before_the_name__no_other_metric(text: str) -> None:
    assert number(text) == 0.9


def test_named_metric__report_of_another_shape__told_as_the_other() -> None:
    report = find("epoch 1, acc: 0.5\nepoch 2, acc: 0.6\nresult, acc: 0.7\n")
    assert report == Report("0.7", 3, "result, acc: 0.7", Report("0.6", 2, "epoch 2, acc: 0.6"))
    assert find("epoch 1, acc: 0.5\nepoch 12, acc: 0.6\n") == Report("0.6", 2, "epoch 12, acc: 0.6")


def test_named_metric__bare_name_under_training_beside_a_longer_one_of_tests__refused() -> None:
    lines = ["Train Epoch: 1 [0/60000 (0%)]\tLoss: 2.30", "Test set: Average loss: 0.05"]
    for ordered in (lines, lines[::-1]):
        with pytest.raises(MetricError, match="'loss' is ambiguous: line 1 is"):
            find("\n".join(ordered), "loss")
    assert number("\n".join(lines), "average loss") == 0.05


@given(st.text(max_size=40))
def test_named_metric__any_name__found_when_printed(name: str) -> None:
    if not name.strip() or len(name.splitlines()) > 1 or not name.isprintable():
        return
    assert number(f"{name}: 0.25", name) == 0.25


@given(st.text(alphabet="ac: =0.1\n\r\x1b[]{}()'\"trainval-/,eE"), st.sampled_from(["acc", "a"]))
def test_named_metric__any_output__a_report_or_an_error_of_ours(text: str, metric: str) -> None:
    try:
        report = find(text, metric)
    except MetricError:
        return
    if report is not None:
        assert report.text.isprintable()
        assert len(report.text) < 200


@pytest.mark.parametrize(
    "piece",
    ["acc", "acc ", "acc: (", "acc: (1,a=", "acc: tensor.", "\x1b]", "train ", "a.", "1", " ", "["],
)
def test_named_metric__output_made_to_backtrack__read_in_linear_time(piece: str) -> None:
    def seconds(length: int) -> float:
        text = piece * (length // len(piece))
        started = time.process_time()
        find(text)
        return time.process_time() - started

    short, long = min(seconds(20_000) for _ in range(3)), seconds(400_000)
    assert long < 100 * short + 0.5  # 400 times as long if it grew with the square


def test_expectation__line_names_the_metric__quoted() -> None:
    lines = list(lines_of("acc was \x1b[31m0.9\x1b[0m\nbye"))
    assert NamedMetric("acc").expectation(lines) == (
        "expected a line such as 'acc: 0.93'; line 1, 'acc was 0.9', names it, but no number "
        "follows"
    )


def test_pattern_metric__last_match__is_the_report() -> None:
    lines = list(lines_of("test score is 5\ntest \x1b[1mscore\x1b[0m is 7, or so\n"))
    report = PatternMetric(r"test score is (\d+)").find(lines)
    assert report == Report("7", 2, "test score is 7, or so")
    assert PatternMetric(r"(\d+) points").find(lines) is None
    assert PatternMetric(r"is 5|is (\d+)").find(lines) == report


def test_pattern_metric__backtracks_without_end__given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "PATTERN_SECONDS", 0.5)
    lines = list(lines_of("fine\n" + "a" * 60 + "!\n"))
    started = time.monotonic()
    with pytest.raises(MetricError, match=r"took longer than 0.5 s, at line 2"):
        PatternMetric(r"((?:a|aa)+)$").find(lines)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("(", "no regular expression"), ("x", "one group.*got 0"), ("(x)(y)", "one group.*got 2")],
)
def test_pattern_metric__bad_pattern__refused(pattern: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PatternMetric(pattern)


@pytest.mark.parametrize(
    "text", ["acc: 10**-2", "acc: 0.93 vs 0.91", "acc: 0.91 0.93", "acc: 0.8 (train) 0.7 (val)"]
)
def test_named_metric__two_numbers_or_a_formula__no_plain_number(text: str) -> None:
    assert number(text) is None
