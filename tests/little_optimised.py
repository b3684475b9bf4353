"""Flags with which XLA takes little time to compile: nearly all the time of tiny programs is their compilation."""

from importlib.metadata import version

# What is compiled does not compete with other processes for the cores either.
FLAGS = "--xla_cpu_multi_thread_eigen=false --xla_backend_optimization_level=0"
if version("jaxlib").startswith("0.10."):  # other versions abort at a flag that they do not know
    FLAGS += (
        " --xla_cpu_use_fusion_emitters=false"  # halves the time
        " --xla_cpu_parallel_codegen_split_count=1 --xla_cpu_enable_concurrency_optimized_scheduler=false"  # a sixth
    )
