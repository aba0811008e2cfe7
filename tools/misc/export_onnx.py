"""Write a trained detector as ONNX for images of one size, checked in onnxruntime against PyTorch (docs/look.md).

    python tools/misc/export_onnx.py work_dirs/scratch_r50_gn_6x --images street.jpg --out detector.onnx

takes a work directory, a config and its weights, or a checkpoint. The size is that to which the test pipeline brings
the images; the boxes and masks that onnxruntime finds in them must be those of PyTorch, or nothing is written.
"""

import argparse

from rethink import arguments


def parse_args() -> argparse.Namespace:
    parser = arguments.Parser(__doc__)
    parser.add_argument('model', help='a work directory, a config, or a checkpoint that has its config within')
    parser.add_argument('checkpoint', nargs='?', help='weights for a config')
    parser.add_argument(
        '--images', nargs='+', required=True, metavar='FILE', help='of one size, to compare; the first with objects'
    )
    arguments.add(parser, '--out', required=True)
    arguments.add(parser, '--cfg-options', '--trust')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from rethink.analysis.look import model
    from rethink.engine import launch

    with launch.one_sentence() as context:
        cfg, weights = model.find(args.model, args.checkpoint, args.cfg_options)
        context.cfg = cfg
        # PyTorch and MMDetection, for which wrong input need not wait; first what gives mmcv its ops.
        import rethink.registrations  # noqa: F401
        from rethink.analysis import onnx_export
        from rethink.analysis.look.inferencer import Inferencer

        print(onnx_export.export(Inferencer(cfg, weights, 'cpu'), args.images, args.out))
        arguments.written(args.out)


if __name__ == '__main__':
    arguments.run(main)
