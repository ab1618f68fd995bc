(** # Two exercises

Each proof ends with [Abort], which throws it away. Replace it by tactics and [Qed]. The file
[solutions.v] has answers. *)
From MLCPC Require Import variational_bounds.
Open Scope R_scope.

(** Exercise 1. A list of positive probabilities does not differ from itself. You need [sum_ext]
(equal summands, equal sums), [sum_0] (a sum of zeros), [ln_1] and the tactic [field]. *)
Theorem exercise_1 {A} (l : list A) (p : A -> R) : (forall a, 0 < p a) -> KL l p p = 0.
Proof.
  intros positive. unfold KL.
  (* your steps here *)
Abort.

(** Exercise 2. A constant added to the score changes nothing. You need [exp_plus], [sum_scal_r]
(a common factor), [ln_mult], [ln_exp], [P_sum] and [mean_Q_exp_pos]. *)
Theorem exercise_2 {X Y} (xs : list X) (ys : list Y) p f c : table xs ys p ->
  DV xs ys p (fun z => f z + c) = DV xs ys p f.
Proof.
  intros p_table. unfold DV.
  (* your steps here *)
Abort.
