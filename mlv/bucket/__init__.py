"""Object stores: the log of an experiment as immutable segments, shipped while it grows and read from anywhere.

| to learn how | read |
|---|---|
| objects are made and read | `store`, with `urls`, `client` and `store_errors`; `probe` proves what a store promises |
| objects are named, and lines cut into them | `names`, `segments`, `contents`, `listing` |
| one experiment is shipped | `shipper`, and its steps in `ship/`; `copies`, `positions`, `published`, `pending` |
| a run is shipped, or a tree is pushed | `wish`, `shipping`, `follower`; `push`; `patience` |
| a bucket is read | `mirror`, `mirrored`, `mirrored_lines`, `mirrored_files`, `mirror_state`; `refresher` follows it |
| a bucket is verified, without a disk | `verifying`, `bucket_subject` |
"""
