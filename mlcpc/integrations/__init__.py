"""The two losses in the trainers of other libraries; each module imports its library on use.

- :mod:`mlcpc.integrations.sentence_transformers`: ``MLCPCRankingLoss(model)``;
- :mod:`mlcpc.integrations.open_clip`: ``ClipLoss()``;
- :mod:`mlcpc.integrations.lightly`: ``NTXentLoss()``;
- :mod:`mlcpc.integrations.metric_learning`: ``MLCPCLoss()`` of pytorch-metric-learning.
"""
