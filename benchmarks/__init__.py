"""Speed and memory, measured by asv (`make bench`). asv wants this folder to be a package."""
