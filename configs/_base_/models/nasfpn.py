"""NAS-FPN (https://arxiv.org/abs/1904.07392) of P3 to P7, 5 repeats of 256 channels, without its norm."""

nasfpn = dict(
    _delete_=True,
    type='NASFPN',
    in_channels=[256, 512, 1024, 2048],
    out_channels=256,
    num_outs=5,
    start_level=1,
    stack_times=5,
)
