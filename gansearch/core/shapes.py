"""The names that tensor annotations are written with: `Float[Tensor, "n d"]`.

They are jaxtyping's, checked while the tests run. Where jaxtyping is not installed the same annotations
are documentation only, so the core needs nothing but PyTorch and NumPy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:  # a type checker sees `Float[Tensor, "n d"]` as `Annotated[Tensor, "n d"]`: a Tensor
    from typing import Annotated as Bool
    from typing import Annotated as Float
    from typing import Annotated as Float32
    from typing import Annotated as Float64
    from typing import Annotated as Int
    from typing import Annotated as Int64
    from typing import Annotated as Real
    from typing import Annotated as UInt8
else:
    try:
        from jaxtyping import Bool, Float, Float32, Float64, Int, Int64, Real, UInt8
    except ImportError:
        from typing import Annotated

        Bool = Float = Float32 = Float64 = Int = Int64 = Real = UInt8 = Annotated

__all__ = ["Bool", "Float", "Float32", "Float64", "Int", "Int64", "Real", "Tensor", "UInt8"]
