"""ImageNet weights of a ResNet-RS from TF Vision's checkpoint, in timm's names (docs/frozen.md).

    pip install tensorflow-cpu timm
    python tools/model_converters/resnet_rs.py resnet-rs-101-i192 data/weights/resnet_rs101_i192.pth

Where to find the checkpoint: docs/frozen.md. The file is for `type='ResNetRS', tf_vision=True, act_layer='silu'`.
"""

from rethink import arguments
from rethink.files import write_atomically


def parse_args():
    parser = arguments.Parser(__doc__)
    parser.add_argument('checkpoint', help='of TensorFlow 2: its folder, or its files without .index')
    parser.add_argument('out', type=arguments.out_file, metavar='FILE', help='file to write, of weights')
    parser.add_argument('--model', default='resnetrs101', help="timm's name of the network (default: resnetrs101)")
    return parser.parse_args()


def main():
    args = parse_args()

    import torch
    from rethink.engine import launch
    from rethink.models.resnet_rs import read_tf_vision, to_timm

    with launch.one_sentence():
        variables = read_tf_vision(args.checkpoint)
        weights = to_timm(variables, args.model)
        meta = dict(architecture=args.model, converted_from=args.checkpoint)
        write_atomically(args.out, lambda file: torch.save(dict(state_dict=weights, meta=meta), file))
        print(f'{len(weights)} tensors of {args.model}')
        if any('/.OPTIMIZER_SLOT/' in name and '/average' in name for name in variables):
            print('The checkpoint also has running averages of the weights, which are not converted (docs/frozen.md).')
        arguments.written(args.out)


if __name__ == '__main__':
    arguments.run(main)
