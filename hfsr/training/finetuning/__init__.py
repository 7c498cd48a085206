"""Fine-tuning of a trained model on a folder of photos: the option file, the training, the comparison."""
