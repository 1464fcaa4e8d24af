"""Search methods of other libraries."""
