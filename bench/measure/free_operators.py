"""Operators that cost no multiply-accumulates by this project's convention, for `bench.measure.operators`.

Free are single passes over memory: what moves, makes or compares values, or computes each from a few others or from a
sum over some. Normalisation folds into its neighbour at inference. Pooling and resizing, and sampling at positions
(`grid_sample`, RoI align), are left out as in fvcore's usual tables. Decompositions, solvers and sparse products are on
no list: what they cost does not follow from shapes alone.
"""

__all__ = ["FREE", "FREE_PREFIXES"]

_ELEMENTWISE_AND_MEMORY = """
    __and__ __contains__ __derive_index __getitem__ __is__ __isnot__ __not__ __or__ __range_length __xor__
    _assert_async _assert_scalar _assert_tensor_metadata _cast_Byte _cast_Char _cast_Double _cast_Float
    _cast_Half _cast_Int _cast_Long _cast_Short _conj _conj_physical _dim_arange _index_put_impl _is_all_true
    _is_any_true _local_scalar_dense _log_softmax _masked_softmax _neg_view _pack_padded_sequence _pad_circular
    _pad_enum _pad_packed_sequence _prelu_kernel _reshape_alias _reshape_copy _safe_softmax _shape_as_tensor
    _softmax _to_copy _unique _unique2 _unsafe_index _unsafe_index_put _unsafe_view abs absolute acos acosh add
    addcdiv addcmul addr adjoint alias alias_copy all allclose alpha_dropout amax amin aminmax angle any append
    arange arccos arccosh arcsin arcsinh arctan arctan2 arctanh argmax argmin argsort argwhere as_strided
    as_strided_copy as_strided_scatter as_tensor asin asinh atan atan2 atanh atleast_1d atleast_2d atleast_3d
    bartlett_window bernoulli bincount binomial bitwise_and bitwise_left_shift bitwise_not bitwise_or
    bitwise_right_shift blackman_window block_diag Bool broadcast_shapes broadcast_tensors broadcast_to
    bucketize cartesian_prod cat cauchy ceil celu chalf channel_shuffle chunk clamp clamp_max clamp_min clip
    clone col2im column_stack combinations Complex complex ComplexImplicit concat concatenate conj conj_physical
    constant_pad_nd contiguous copy copysign cos cosh cosine_similarity count_nonzero cpu cross cuda cummax
    cummin cumprod cumsum cumulative_trapezoid deg2rad dequantize detach detach_copy device diag diag_embed
    diagflat diagonal diagonal_copy diagonal_scatter diff digamma dim dist div divide dropout dsplit
    dstack element_size elu embedding embedding_bag empty empty_like empty_permuted empty_strided eq equal erf
    erfc erfinv exp exp2 expand expand_as expand_copy expm1 exponential eye
    feature_dropout fft_fftfreq fft_fftshift fft_ifftshift fft_rfftfreq fill fix flatten
    flip fliplr flipud Float float_power FloatImplicit floor floor_divide fmax fmin fmod frac frexp
    frobenius_norm full full_like gather gcd ge gelu Generator geometric ger get_device glu gradient greater
    greater_equal gt hamming_window hann_window hardshrink hardsigmoid hardswish hardtanh heaviside histc
    histogram hsplit hstack hypot i0 igamma igammac im2col imag index index_add index_copy index_fill index_put
    index_reduce index_select indices Int IntImplicit is_complex is_contiguous is_floating_point is_nonzero
    is_same_size isclose isfinite isin isinf isnan isneginf isposinf isreal item kaiser_window kron kthvalue lcm
    ldexp le leaky_relu len lerp less less_equal lgamma lift lift_fresh lift_fresh_copy linalg_cross
    linalg_diagonal linalg_matrix_norm linalg_norm linalg_vector_norm linspace log log10 log1p log2 log_normal
    log_sigmoid log_softmax logaddexp logaddexp2 logcumsumexp logical_and logical_not logical_or logical_xor
    logit logspace logsumexp lt masked_fill masked_scatter masked_select matrix_H max maximum mean median
    meshgrid mH min minimum mish mode moveaxis movedim msort mT mul multinomial multiply mvlgamma nan_to_num
    nanmean nanmedian nanquantile nansum narrow narrow_copy native_dropout native_norm ne neg negative new_empty
    new_empty_strided new_full new_ones new_zeros nextafter nonzero nonzero_numpy nonzero_static norm normal
    not_equal numel numpy_T one_hot ones ones_like outer pad pad_sequence pairwise_distance permute permute_copy
    pixel_shuffle pixel_unshuffle poisson polar polygamma positive pow prelu prod put quantile rad2deg rand
    rand_like randint randn randn_like random randperm range ravel real reciprocal reflection_pad1d
    reflection_pad2d reflection_pad3d relu relu6 remainder renorm repeat repeat_interleave replication_pad1d
    replication_pad2d replication_pad3d reshape reshape_as resize resize_as resolve_conj resolve_neg result_type
    roll rot90 round rrelu rsqrt rsub scalar_tensor ScalarImplicit scatter scatter_add scatter_reduce
    searchsorted segment_reduce select select_copy select_scatter selu sgn sigmoid sign signbit silu sin sinc
    sinh size Size slice slice_copy slice_inverse slice_scatter softmax softplus softshrink sort split
    split_copy split_with_sizes split_with_sizes_copy sqrt square squeeze squeeze_copy stack std std_mean
    storage_offset stride sub subtract sum sum_to_size swapaxes swapdims sym_is_contiguous sym_numel sym_size
    sym_storage_offset sym_stride t t_copy take take_along_dim tan tanh tensor tensor_split threshold tile to
    to_dense to_padded_tensor to_sparse topk trace transpose transpose_copy trapezoid trapz tril tril_indices
    triu triu_indices true_divide trunc type_as unbind unbind_copy unflatten unfold unfold_copy uniform
    unique_consecutive unique_dim unique_dim_consecutive unsafe_chunk unsafe_split unsafe_split_with_sizes
    unsqueeze unsqueeze_copy values vander var var_mean view view_as view_as_complex view_as_complex_copy
    view_as_real view_as_real_copy view_copy vsplit vstack warn where xlogy zero zeros zeros_like
"""

_LOSSES = """
    binary_cross_entropy binary_cross_entropy_with_logits cosine_embedding_loss cross_entropy_loss ctc_loss
    hinge_embedding_loss huber_loss kl_div l1_loss margin_ranking_loss mse_loss multi_margin_loss
    multilabel_margin_loss nll_loss nll_loss2d nll_loss_nd poisson_nll_loss smooth_l1_loss soft_margin_loss
    triplet_margin_loss
"""

_NORMALISATION = """
    _batch_norm_impl_index _fused_rms_norm _native_batch_norm_legit _native_batch_norm_legit_no_training
    _weight_norm _weight_norm_interface batch_norm cudnn_batch_norm group_norm instance_norm layer_norm
    native_batch_norm native_group_norm native_layer_norm norm_except_dim rms_norm
"""

_POOLING = """
    _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
    adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d avg_pool1d avg_pool2d avg_pool3d
    fractional_max_pool2d fractional_max_pool3d max_pool1d max_pool1d_with_indices max_pool2d
    max_pool2d_with_indices max_pool3d max_pool3d_with_indices max_unpool2d max_unpool3d
"""

_RESIZING = """
    _upsample_bicubic2d_aa _upsample_bilinear2d_aa _upsample_lanczos2d_aa _upsample_nearest_exact1d
    _upsample_nearest_exact2d _upsample_nearest_exact3d affine_grid_generator grid_sampler grid_sampler_2d
    grid_sampler_3d upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d
    upsample_nearest2d upsample_nearest3d upsample_trilinear3d
"""

_TORCHVISION = ("nms", "ps_roi_align", "ps_roi_pool", "roi_align", "roi_pool")

_NAMES = (_ELEMENTWISE_AND_MEMORY, _LOSSES, _NORMALISATION, _POOLING, _RESIZING)

FREE = frozenset(
    [f"aten::{name}{place}" for names in _NAMES for name in names.split() for place in ("", "_")]
    + [f"torchvision::{name}" for name in _TORCHVISION]
)
"""By full name, in-place forms included."""

FREE_PREFIXES = ("aten::special_", "aten::_foreach_")
"""Element by element, all of them."""
