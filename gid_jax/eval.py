"""Evaluates a bundle on the test split of a data set.

    python -m gid_jax.eval --bundle=B --data_dir=D --out=O [--config=configs/eval.py:PRESET] [--limit=N]
        [--compare=OTHER/metrics.json]

Writes O/metrics.json and O/report.html. The presets are demo (the default), paper and test; `--config.x.y=v`
overrides any setting. Every figure stands beside what a prediction reaches that has
not seen the picture. FID, KID and FVD need networks, which `python -m gid_jax.weights`
fetches. What takes long is kept in $GID_JAX_CACHE.
"""

from pathlib import Path

from absl import flags
from ml_collections import config_flags

from gid_jax import cli
from gid_jax.errors import UserError
from gid_jax.files import check_apart

FLAGS = cli.ConfigFlags("configs/eval.py:demo")
cli.DEFINE_path("bundle", None, "Bundle to evaluate, made by gid_jax.export.", flag_values=FLAGS)
cli.DEFINE_path("data_dir", None, "Data set, made by data_pipeline.build.", flag_values=FLAGS)
cli.DEFINE_path("out", None, "Folder for metrics.json and report.html.", flag_values=FLAGS)
cli.DEFINE_path("compare", None, "metrics.json of another run, to set beside this one.", flag_values=FLAGS)
flags.DEFINE_integer("limit", None, "At most so many test examples.", lower_bound=1, flag_values=FLAGS)
config_flags.DEFINE_config_file(
    "config", None, "Protocol, configs/eval.py:PRESET; without it the preset demo.", flag_values=FLAGS
)


def main(arguments: list[str]) -> None:
    if arguments:
        raise UserError(f"unexpected argument {arguments[0]!r}")
    for name in ("bundle", "data_dir", "out"):
        if not FLAGS[name].value:
            raise UserError(f"--{name} is missing: {FLAGS[name].help}")

    from gid_jax.data.source import open_source
    from gid_jax.evaluation import report, run
    from gid_jax.evaluation.comparison import Other
    from gid_jax.evaluation.model import BundleModel
    from gid_jax.inference.bundle import load_bundle

    config = FLAGS.config
    if FLAGS.limit:
        config.num_examples = min(config.num_examples, FLAGS.limit)
    out = Path(FLAGS.out)
    check_apart({"--bundle": [Path(FLAGS.bundle)], "--data_dir": [Path(FLAGS.data_dir)]}, {"--out": [out]})
    other = Other.read(Path(FLAGS.compare), run.FORMAT) if FLAGS.compare else None
    report.prepare(out)
    model = BundleModel(load_bundle(FLAGS.bundle), **config.sampling)
    train, test = (open_source(FLAGS.data_dir, split) for split in ("train", "test"))
    metrics = run.evaluate(
        model, train, test, config, out, independent=model.uncoordinated(), identity=model.identity, other=other
    )
    print(report.answer(metrics["summary"]))
    print(f"{out / 'metrics.json'}\n{out / 'report.html'}")


if __name__ == "__main__":
    cli.run(main, FLAGS)
