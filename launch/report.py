"""The page that the quickstart ends with: what was made, and how well it moves.

    python -m launch.report --out=OUT

reads OUT/eval/metrics.json and OUT/train/*/metrics.jsonl, writes OUT/report.html beside the animation and the viewer.
"""

import base64
import html
import io
import json
from pathlib import Path

from absl import flags

from gid_jax import cli
from gid_jax.errors import UserError
from gid_jax.files import write_text

FLAGS = flags.FlagValues()
cli.DEFINE_path("out", None, "folder of a finished quickstart", flag_values=FLAGS)

STAGES = {
    "vae": "1. Autoencoder of spectral slices",
    "denoiser": "2. Denoiser of single slices",
    "coordinated": "3. Attention over frequencies",
    "renderer": "4. Renderer",
}
CORRELATIONS = {
    "model": "this model",
    "mean_spectrum": "mean of the training motion, whatever the picture",
    "shuffled": "this model, shown another picture",
}
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>gid_jax quickstart</title>
<style>
  body {{ font: 16px/1.55 system-ui, sans-serif; color: #1d2420;
    max-width: 62rem; margin: 3rem auto; padding: 0 1.2rem; }}
  h1 {{ font-size: 1.7rem; }} h2 {{ font-size: 1.15rem; margin-top: 2.4rem; }}
  .pair {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1.2rem; }}
  video, img, iframe {{ width: 100%; border: 0; border-radius: 6px; background: #eee; }}
  iframe {{ height: 24rem; }}
  td, th {{ text-align: left; padding: .3rem 1.4rem .3rem 0; border-bottom: 1px solid #dde3df; }}
  td.n {{ font-variant-numeric: tabular-nums; }}
</style>
<h1>One picture, moving</h1>
<p>This picture was not trained on. The motion was predicted from it alone, at demo scale, on this machine.</p>
<div class="pair">
  <figure><video src="animation.mp4" autoplay loop muted playsinline controls></video>
    <figcaption>Animation</figcaption></figure>
  <figure><iframe src="viewer.html" title="viewer"></iframe><figcaption>Pull it and let go
    (<a href="viewer.html">full page</a>)</figcaption></figure>
</div>
<h2>Does the picture tell the model where to move?</h2>
<p>Correlation of the predicted motion map (how far each pixel moves on average) with the {truth} one, over {count}
pictures of scenes that were not trained on. Higher is better; 1 is perfect.</p>
<table>{correlations}</table>
<p>The whole evaluation: <a href="eval/report.html">eval/report.html</a>,
<a href="eval/metrics.json">eval/metrics.json</a>.</p>
<h2>Training</h2>
<img alt="training losses" src="data:image/png;base64,{curves}">
<h2>Files</h2>
<p>The trained model is <code>bundle/</code>:
<code>python -m gid_jax.animate PHOTO --bundle={bundle} --out=V.mp4</code></p>
</html>
"""


def main(arguments: list[str]) -> None:
    if not FLAGS.out:
        raise UserError("--out: name the folder of a finished quickstart")
    out = Path(FLAGS.out)
    metrics_file = out / "eval" / "metrics.json"
    try:
        metrics = json.loads(metrics_file.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{metrics_file}: not readable ({error}); run launch/quickstart.sh {out} again") from error
    summary = metrics["summary"]
    rows = "".join(
        f'<tr><td>{html.escape(label)}</td><td class="n">{summary["map_correlation"][name]:.3f}</td></tr>'
        for name, label in CORRELATIONS.items()
        if summary["map_correlation"].get(name) is not None
    )
    page = PAGE.format(
        truth=html.escape(summary["truth"]),
        count=metrics["protocol"]["examples"],
        correlations=rows,
        curves=base64.b64encode(_curves(out)).decode(),
        bundle=html.escape(str(out / "bundle")),
    )
    target = out / "report.html"
    write_text(target, page)
    print(target)


def _curves(out: Path) -> bytes:
    """Training and held-out loss of the four stages, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(STAGES), figsize=(12, 2.8))
    for axis, (stage, title) in zip(axes, STAGES.items(), strict=True):
        records = [json.loads(line) for line in (out / "train" / stage / "metrics.jsonl").read_text().splitlines()]
        for split, style in (("train", "-"), ("test", "o--")):
            points = [(record["step"], record["loss"]) for record in records if record["split"] == split]
            if points:
                axis.plot(*zip(*points, strict=True), style, label=split, markersize=3, linewidth=1.2)
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("step", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.legend(fontsize=7)
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=130)
    pyplot.close(figure)
    return buffer.getvalue()


if __name__ == "__main__":
    cli.run(main, FLAGS)
