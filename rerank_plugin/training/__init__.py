"""Everything that needs torch (extra ``train``): the trunk as a module, its export and its checks."""
