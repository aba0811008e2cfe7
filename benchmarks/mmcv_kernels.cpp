// mmcv's own kernels in one module, from the sources that the mmcv package carries: `ops.py --build` compiles it.
//
// The CPU kernels are what mmcv runs. Those that mmcv has only for CUDA are compiled as plain C++: `__global__` and its
// like mean nothing here, a grid is one thread, and a launch is a call. They say what the kernel computes, not how fast,
// nor in which order a GPU adds.
#include <torch/extension.h>

#include <algorithm>
#include <cfloat>

#include "common/pytorch_cpp_helper.hpp"
#include "common/pytorch_device_registry.hpp"

namespace nms_ {
#include "pytorch/nms.cpp"
#include "pytorch/cpu/nms.cpp"
}  // namespace nms_
namespace roi_align_ {
#include "pytorch/roi_align.cpp"
#include "pytorch/cpu/roi_align.cpp"
}  // namespace roi_align_
namespace deform_conv_ {
#include "pytorch/deform_conv.cpp"
#include "pytorch/cpu/deform_conv.cpp"
}  // namespace deform_conv_
namespace modulated_ {
#include "pytorch/modulated_deform_conv.cpp"
#include "pytorch/cpu/modulated_deform_conv.cpp"
}  // namespace modulated_
namespace overlaps_ {
#include "pytorch/bbox_overlaps.cpp"
#include "pytorch/cpu/bbox_overlaps_cpu.cpp"
}  // namespace overlaps_

#define PYTORCH_CUDA_HELPER
#define __global__
#define __device__
#define __shared__
#define __forceinline__
#define __syncthreads()
using at::Half;
using at::Tensor;
using phalf = at::Half;
using std::max;
using std::min;
struct Index {
  int x, y, z;
};
static Index blockIdx{0, 0, 0}, threadIdx{0, 0, 0}, blockDim{1, 1, 1}, gridDim{1, 1, 1};
template <typename T>
void atomicAdd(T *address, T value) {
  *address += value;
}
#include "common/cuda/common_cuda_helper.hpp"
#include "common/cuda/carafe_naive_cuda_kernel.cuh"
#include "common/cuda/deform_roi_pool_cuda_kernel.cuh"
#include "common/cuda/masked_conv2d_cuda_kernel.cuh"
#include "common/cuda/ms_deform_attn_cuda_kernel.cuh"
#include "common/cuda/sigmoid_focal_loss_cuda_kernel.cuh"
#include "common/cuda/softmax_focal_loss_cuda_kernel.cuh"
#include "common/cuda/sync_bn_cuda_kernel.cuh"

#define FLOATS(tensor, name, ...) AT_DISPATCH_FLOATING_TYPES(tensor.scalar_type(), name, ([&] { __VA_ARGS__; }))
#define P(tensor) tensor.data_ptr<scalar_t>()
#define I(tensor) tensor.data_ptr<int64_t>()
#define F(tensor) tensor.data_ptr<float>()

void carafe_naive_forward(Tensor features, Tensor masks, Tensor output, int kernel_size, int group_size,
                          int scale_factor) {
  FLOATS(features, "carafe",
         carafe_naive_forward_cuda_kernel<scalar_t>(output.numel(), P(features), P(masks), P(output), kernel_size,
                                                    group_size, scale_factor, output.size(1), output.size(2),
                                                    output.size(3)));
}

void carafe_naive_backward(Tensor top_grad, Tensor features, Tensor masks, Tensor bottom_grad, Tensor mask_grad,
                           int kernel_size, int group_size, int scale_factor) {
  FLOATS(features, "carafe",
         carafe_naive_backward_cuda_kernel<scalar_t>(top_grad.numel(), P(top_grad), P(features), P(masks),
                                                     P(bottom_grad), P(mask_grad), kernel_size, group_size,
                                                     scale_factor, top_grad.size(1), top_grad.size(2),
                                                     top_grad.size(3)));
}

void deform_roi_pool_forward(Tensor input, Tensor rois, Tensor offset, Tensor output, int pooled_height,
                             int pooled_width, double spatial_scale, int sampling_ratio, double gamma) {
  FLOATS(input, "deform_roi_pool",
         deform_roi_pool_forward_cuda_kernel<scalar_t>(
             output.numel(), P(input), P(rois), offset.numel() ? P(offset) : nullptr, P(output), pooled_height,
             pooled_width, spatial_scale, sampling_ratio, gamma, input.size(1), input.size(2), input.size(3)));
}

void deform_roi_pool_backward(Tensor grad_output, Tensor input, Tensor rois, Tensor offset, Tensor grad_input,
                              Tensor grad_offset, int pooled_height, int pooled_width, double spatial_scale,
                              int sampling_ratio, double gamma) {
  FLOATS(input, "deform_roi_pool",
         deform_roi_pool_backward_cuda_kernel<scalar_t>(
             grad_output.numel(), P(grad_output), P(input), P(rois), offset.numel() ? P(offset) : nullptr,
             P(grad_input), offset.numel() ? P(grad_offset) : nullptr, pooled_height, pooled_width, spatial_scale,
             sampling_ratio, gamma, input.size(1), input.size(2), input.size(3)));
}

void masked_im2col_forward(Tensor im, Tensor mask_h_idx, Tensor mask_w_idx, Tensor col, int kernel_h, int kernel_w,
                           int pad_h, int pad_w) {
  int count = mask_h_idx.size(0);
  FLOATS(im, "masked_im2col",
         MaskedIm2colForward<scalar_t>(im.size(1) * count, P(im), im.size(2), im.size(3), kernel_h, kernel_w, pad_h,
                                       pad_w, I(mask_h_idx), I(mask_w_idx), count, P(col)));
}

void masked_col2im_forward(Tensor col, Tensor mask_h_idx, Tensor mask_w_idx, Tensor im, int height, int width,
                           int channels) {
  int count = mask_h_idx.size(0);
  FLOATS(col, "masked_col2im",
         MaskedCol2imForward<scalar_t>(channels * count, P(col), height, width, channels, I(mask_h_idx),
                                       I(mask_w_idx), count, P(im)));
}

Tensor ms_deform_attn_forward(Tensor value, Tensor shapes, Tensor start, Tensor locations, Tensor weights, int) {
  auto output = at::zeros({value.size(0), locations.size(1), value.size(2) * value.size(3)}, value.options());
  FLOATS(value, "ms_deform_attn",
         ms_deformable_im2col_gpu_kernel<scalar_t>(
             output.numel(), P(value), I(shapes), I(start), P(locations), P(weights), value.size(0), value.size(1),
             value.size(2), value.size(3), shapes.size(0), locations.size(1), locations.size(4), P(output)));
  return output;
}

void ms_deform_attn_backward(Tensor value, Tensor shapes, Tensor start, Tensor locations, Tensor weights,
                             Tensor grad_output, Tensor grad_value, Tensor grad_locations, Tensor grad_weights, int) {
  FLOATS(value, "ms_deform_attn",
         ms_deformable_col2im_gpu_kernel_gm<scalar_t>(
             grad_output.numel(), P(grad_output), P(value), I(shapes), I(start), P(locations), P(weights),
             value.size(0), value.size(1), value.size(2), value.size(3), shapes.size(0), locations.size(1),
             locations.size(4), P(grad_value), P(grad_locations), P(grad_weights)));
}

void sigmoid_focal_loss_forward(Tensor input, Tensor target, Tensor weight, Tensor output, double gamma,
                                double alpha) {
  FLOATS(input, "sigmoid_focal_loss",
         sigmoid_focal_loss_forward_cuda_kernel<scalar_t>(output.numel(), P(input), I(target),
                                                          weight.numel() ? P(weight) : nullptr, P(output), gamma,
                                                          alpha, input.size(1)));
}

void sigmoid_focal_loss_backward(Tensor input, Tensor target, Tensor weight, Tensor grad_input, double gamma,
                                 double alpha) {
  FLOATS(input, "sigmoid_focal_loss",
         sigmoid_focal_loss_backward_cuda_kernel<scalar_t>(grad_input.numel(), P(input), I(target),
                                                           weight.numel() ? P(weight) : nullptr, P(grad_input), gamma,
                                                           alpha, input.size(1)));
}

void softmax_focal_loss_forward(Tensor input, Tensor target, Tensor weight, Tensor output, double gamma,
                                double alpha) {
  FLOATS(input, "softmax_focal_loss",
         softmax_focal_loss_forward_cuda_kernel<scalar_t>(output.numel(), P(input), I(target),
                                                          weight.numel() ? P(weight) : nullptr, P(output), gamma,
                                                          alpha, input.size(1)));
}

void softmax_focal_loss_backward(Tensor input, Tensor target, Tensor weight, Tensor buff, Tensor grad_input,
                                 double gamma, double alpha) {
  FLOATS(input, "softmax_focal_loss",
         softmax_focal_loss_backward_cuda1_kernel<scalar_t>(buff.numel(), P(input), I(target),
                                                            weight.numel() ? P(weight) : nullptr, P(buff), gamma,
                                                            alpha, input.size(1));
         softmax_focal_loss_backward_cuda2_kernel<scalar_t>(grad_input.numel(), P(input), I(target), P(buff),
                                                            P(grad_input), input.size(1)));
}

// One block for each channel.
#define CHANNELS(input) for (blockIdx.x = 0; blockIdx.x < input.size(1); blockIdx.x++)

void sync_bn_forward_mean(Tensor input, Tensor mean) {
  CHANNELS(input)
  sync_bn_forward_mean_cuda_kernel<float>(F(input), F(mean), input.size(0), input.size(1), input.size(2));
  blockIdx.x = 0;
}

void sync_bn_forward_var(Tensor input, Tensor mean, Tensor var) {
  CHANNELS(input)
  sync_bn_forward_var_cuda_kernel<float>(F(input), F(mean), F(var), input.size(0), input.size(1), input.size(2));
  blockIdx.x = 0;
}

void sync_bn_forward_output(Tensor input, Tensor mean, Tensor var, Tensor weight, Tensor bias, Tensor running_mean,
                            Tensor running_var, Tensor norm, Tensor std, Tensor output, double eps, double momentum,
                            int group_size) {
  CHANNELS(input)
  sync_bn_forward_output_cuda_kernel<float>(F(input), F(mean), F(var), F(running_mean), F(running_var), F(weight),
                                            F(bias), F(norm), F(std), F(output), input.size(0), input.size(1),
                                            input.size(2), eps, momentum, group_size);
  blockIdx.x = 0;
}

void sync_bn_backward_param(Tensor grad_output, Tensor norm, Tensor grad_weight, Tensor grad_bias) {
  CHANNELS(grad_output)
  sync_bn_backward_param_cuda_kernel<float>(F(grad_output), F(norm), F(grad_weight), F(grad_bias),
                                            grad_output.size(0), grad_output.size(1), grad_output.size(2));
  blockIdx.x = 0;
}

void sync_bn_backward_data(Tensor grad_output, Tensor weight, Tensor grad_weight, Tensor grad_bias, Tensor norm,
                           Tensor std, Tensor grad_input) {
  sync_bn_backward_data_cuda_kernel<float>(grad_output.numel(), F(grad_output), F(weight), F(grad_weight),
                                           F(grad_bias), F(norm), F(std), F(grad_input), grad_output.size(0),
                                           grad_output.size(1), grad_output.size(2));
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.def("nms", &nms_::nms);
  m.def("softnms", &nms_::softnms);
  m.def("nms_match", &nms_::nms_match);
  m.def("roi_align_forward", &roi_align_::roi_align_forward);
  m.def("roi_align_backward", &roi_align_::roi_align_backward);
  m.def("deform_conv_forward", &deform_conv_::deform_conv_forward);
  m.def("deform_conv_backward_input", &deform_conv_::deform_conv_backward_input);
  m.def("deform_conv_backward_parameters", &deform_conv_::deform_conv_backward_parameters);
  m.def("modulated_deform_conv_forward", &modulated_::modulated_deform_conv_forward);
  m.def("modulated_deform_conv_backward", &modulated_::modulated_deform_conv_backward);
  m.def("bbox_overlaps", &overlaps_::bbox_overlaps);
  m.def("carafe_naive_forward", &carafe_naive_forward);
  m.def("carafe_naive_backward", &carafe_naive_backward);
  m.def("deform_roi_pool_forward", &deform_roi_pool_forward);
  m.def("deform_roi_pool_backward", &deform_roi_pool_backward);
  m.def("masked_im2col_forward", &masked_im2col_forward);
  m.def("masked_col2im_forward", &masked_col2im_forward);
  m.def("ms_deform_attn_forward", &ms_deform_attn_forward);
  m.def("ms_deform_attn_backward", &ms_deform_attn_backward);
  m.def("sigmoid_focal_loss_forward", &sigmoid_focal_loss_forward);
  m.def("sigmoid_focal_loss_backward", &sigmoid_focal_loss_backward);
  m.def("softmax_focal_loss_forward", &softmax_focal_loss_forward);
  m.def("softmax_focal_loss_backward", &softmax_focal_loss_backward);
  m.def("sync_bn_forward_mean", &sync_bn_forward_mean);
  m.def("sync_bn_forward_var", &sync_bn_forward_var);
  m.def("sync_bn_forward_output", &sync_bn_forward_output);
  m.def("sync_bn_backward_param", &sync_bn_backward_param);
  m.def("sync_bn_backward_data", &sync_bn_backward_data);
}
