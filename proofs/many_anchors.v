(** # Many anchors

The chapter *Many anchors*, as far as it is finite algebra: the limit of many anchors, its supremum
and its bias. That the value of ML-CPC tends to this limit is analysis and is not here. *)
From MLCPC Require Export variational_bounds.
Open Scope R_scope.

Section Skew.
Context {X Y : Type}.
Variables (xs : list X) (ys : list Y) (p : X -> Y -> R) (a : R).
Notation cells := (mutual_information.cells xs ys).
Notation P := (mutual_information.P p).
Notation Q := (mutual_information.Q xs ys p).

(** The mixture of P and Q, and the limit of ML-CPC with [a = alpha / m] for a score [f]. *)
Definition M (z : X * Y) : R := a * P z + (1 - a) * Q z.
Definition Lambda (f : X * Y -> R) : R :=
  ∑ z ∈ cells, P z * f z - ln (∑ z ∈ cells, M z * exp (f z)).

Hypothesis p_table : table xs ys p.
Hypothesis a_01 : 0 < a < 1.
Notation P_nonneg := (mutual_information.P_nonneg xs ys p p_table).
Notation Q_nonneg := (mutual_information.Q_nonneg xs ys p p_table).
Notation P_sum := (mutual_information.P_sum xs ys p p_table).
Notation Q_sum := (mutual_information.Q_sum xs ys p p_table).

Lemma M_nonneg z : 0 <= M z.
Proof.
  unfold M. pose proof (P_nonneg z). pose proof (Q_nonneg z).
  assert (0 <= a * P z) by (apply Rmult_le_pos; lra).
  assert (0 <= (1 - a) * Q z) by (apply Rmult_le_pos; lra). lra.
Qed.
Lemma M_above z : a * P z <= M z.
Proof.
  unfold M. assert (0 <= (1 - a) * Q z) by (apply Rmult_le_pos; [lra|apply Q_nonneg]). lra.
Qed.
Lemma M_pos z : 0 < P z -> 0 < M z.
Proof. intros Hp. pose proof (M_above z). assert (0 < a * P z) by (apply Rmult_lt_0_compat; lra). lra. Qed.
Lemma M_sum : sum cells M = 1.
Proof. unfold M. rewrite sum_plus, !sum_scal, P_sum, Q_sum. ring. Qed.
Lemma no_P_without_M z : In z cells -> M z = 0 -> P z = 0.
Proof.
  intros _ H0. destruct (P_nonneg z) as [Hp|Hp]; [|auto]. pose proof (M_pos z Hp). lra.
Qed.
Lemma Q_pos z : In z cells -> 0 < P z -> 0 < Q z.
Proof.
  intros Hz Hp. destruct (Q_nonneg z) as [Hq|Hq]; [exact Hq|].
  pose proof (no_P_without_Q xs ys p p_table z Hz (eq_sym Hq)). lra.
Qed.

(** ## The best critic *)

(** `prp-skew` *)
Theorem Lambda_le_skew f : Lambda f <= KL cells P M.
Proof.
  apply variational; [exact P_nonneg|exact M_nonneg|exact P_sum|exact no_P_without_M].
Qed.

(** `prp-skew-critic`: reached by the log ratio to the mixture, which never exceeds [1 / a]. *)
Theorem Lambda_best c : (forall x y, In x xs -> In y ys -> 0 < p x y) ->
  Lambda (fun z => ln (P z / M z) + c) = KL cells P M.
Proof.
  intros Hp. apply variational_best.
  - exact M_nonneg.
  - exact P_sum.
  - exact no_P_without_M.
  - intros [x y] Hz. apply in_prod_iff in Hz. apply Hp; apply Hz.
  - exact M_sum.
Qed.

Theorem skew_critic z : In z cells -> 0 < P z ->
  P z / M z = (P z / Q z) / (a * (P z / Q z) + 1 - a) /\ P z / M z <= / a.
Proof.
  intros Hz Hp. pose proof (Q_pos z Hz Hp) as Hq. pose proof (M_pos z Hp) as HM. split.
  - unfold M in *. field. repeat split; try lra.
  - apply Rmult_le_reg_r with (M z); [exact HM|]. unfold Rdiv.
    rewrite Rmult_assoc, Rinv_l, Rmult_1_r by lra.
    apply Rmult_le_reg_l with a; [lra|]. rewrite <- Rmult_assoc, Rinv_r by lra.
    pose proof (M_above z). lra.
Qed.

(** ## What the limit misses *)

(** `prp-skew-bias`: the bias of the best critic. *)
Theorem skew_bias : I xs ys p - KL cells P M
  = ∑ z ∈ cells, P z * ln (1 - a + a * (P z / Q z)).
Proof.
  rewrite I_KL. unfold KL. rewrite <- sum_minus. apply sum_ext; intros z Hz.
  destruct (P_nonneg z) as [Hp|Hp]; [|rewrite <- Hp; ring].
  pose proof (Q_pos z Hz Hp) as Hq. pose proof (M_pos z Hp) as HM.
  rewrite <- Rmult_minus_distr_l. f_equal.
  rewrite <- ln_div' by (apply Rdiv_lt_0_compat; assumption). f_equal. unfold M in *. field.
  repeat split; lra.
Qed.

(** The mean of a logarithm is at most the logarithm of the mean. *)
Lemma mean_log (F : X * Y -> R) c : (forall z, In z cells -> 0 < P z -> 0 < F z) -> 0 < c ->
  ∑ z ∈ cells, P z * F z <= c -> ∑ z ∈ cells, P z * ln (F z) <= ln c.
Proof.
  intros HF Hc Hle.
  apply Rle_trans with (∑ z ∈ cells, (P z * (ln c - 1) + / c * (P z * F z))).
  - apply sum_le; intros z Hz. destruct (P_nonneg z) as [Hp|Hp]; [|rewrite <- Hp; lra].
    specialize (HF z Hz Hp).
    pose proof (ln_le_sub1 (F z / c) ltac:(apply Rdiv_lt_0_compat; assumption)) as Hl.
    rewrite ln_div' in Hl by assumption.
    replace (P z * (ln c - 1) + / c * (P z * F z)) with (P z * (ln c - 1 + F z / c))
      by (unfold Rdiv; ring).
    apply Rmult_le_compat_l; lra.
  - rewrite sum_plus, sum_scal_r, sum_scal, P_sum.
    apply Rmult_le_compat_l with (r := / c) in Hle; [|left; apply Rinv_0_lt_compat, Hc].
    rewrite Rinv_l in Hle by lra. lra.
Qed.

(** `prp-skew-bias`: with [1 + chi2] the mean of the ratio under P. *)
Theorem skew_bias_le chi2 : ∑ z ∈ cells, P z * (P z / Q z) = 1 + chi2 ->
  I xs ys p - KL cells P M <= ln (1 + a * chi2).
Proof.
  intros Hchi. rewrite skew_bias.
  assert (Hmean : ∑ z ∈ cells, P z * (1 - a + a * (P z / Q z)) = 1 + a * chi2).
  { rewrite (sum_ext cells _ (fun z => P z * (1 - a) + a * (P z * (P z / Q z)))) by (intros; ring).
    rewrite sum_plus, sum_scal_r, sum_scal, P_sum, Hchi. ring. }
  assert (Hpos : forall z, In z cells -> 0 < P z -> 0 < 1 - a + a * (P z / Q z)).
  { intros z Hz Hp. pose proof (Rdiv_lt_0_compat _ _ Hp (Q_pos z Hz Hp)).
    assert (0 < a * (P z / Q z)) by (apply Rmult_lt_0_compat; lra). lra. }
  apply mean_log; [exact Hpos| |lra]. rewrite <- Hmean.
  apply Rlt_le_trans with (∑ z ∈ cells, P z * (1 - a)); [rewrite sum_scal_r, P_sum; lra|].
  apply sum_le; intros z Hz. destruct (P_nonneg z) as [Hp|Hp]; [|rewrite <- Hp; lra].
  apply Rmult_le_compat_l; [lra|].
  pose proof (Rdiv_lt_0_compat _ _ Hp (Q_pos z Hz Hp)).
  assert (0 < a * (P z / Q z)) by (apply Rmult_lt_0_compat; lra). lra.
Qed.

(** `prp-skew-interval`: every weight is safe in the limit. *)
Theorem skew_interval : KL cells P M <= Rmin ((1 - a) * I xs ys p) (ln (/ a)).
Proof.
  apply Rmin_glb.
  - rewrite I_KL. unfold KL. rewrite <- sum_scal. apply sum_le; intros z Hz.
    destruct (P_nonneg z) as [Hp|Hp]; [|rewrite <- Hp; lra].
    pose proof (Q_pos z Hz Hp) as Hq. pose proof (M_pos z Hp) as HM.
    replace ((1 - a) * (P z * ln (P z / Q z))) with (P z * ((1 - a) * ln (P z / Q z))) by ring.
    apply Rmult_le_compat_l; [lra|]. rewrite !ln_div' by assumption.
    pose proof (ln_mix (1 - a) (P z) (Q z) ltac:(lra) Hp Hq) as Hl.
    replace ((1 - (1 - a)) * P z + (1 - a) * Q z) with (M z) in Hl by (unfold M; ring). lra.
  - unfold KL. apply Rle_trans with (∑ z ∈ cells, P z * ln (/ a)).
    + apply sum_le; intros z Hz. destruct (P_nonneg z) as [Hp|Hp]; [|rewrite <- Hp; lra].
      apply Rmult_le_compat_l; [lra|]. apply ln_le'; [apply Rdiv_lt_0_compat; [lra|apply M_pos, Hp]|].
      apply (skew_critic z Hz Hp).
    + rewrite sum_scal_r, P_sum. lra.
Qed.
End Skew.

(** ## Known values and false twins *)

(** At [a = 1/2] the copied bit gives ln (4/3). *)
Lemma skew_copy : KL (cells bit bit) (P copy) (M bit bit copy (/2)) = ln (4/3).
Proof.
  unfold KL, M, P, Q, px, py, cells, copy; simpl.
  replace (/ 2 / (/ 2 * / 2 + (1 - / 2) * ((/ 2 + (0 + 0)) * (/ 2 + (0 + 0))))) with (4/3) by field.
  replace (/ 2 / (/ 2 * / 2 + (1 - / 2) * ((0 + (/ 2 + 0)) * (0 + (/ 2 + 0))))) with (4/3) by field.
  field.
Qed.

(** With the square of [1 - a] the interval is too short. *)
Theorem skew_interval_twin : ~ forall (X Y : Type) (xs : list X) (ys : list Y) p a,
  table xs ys p -> 0 < a < 1 ->
  KL (cells xs ys) (P p) (M xs ys p a) <= (1 - a) ^ 2 * I xs ys p.
Proof.
  intros HF. specialize (HF _ _ bit bit copy (/ 2) copy_table ltac:(lra)).
  rewrite skew_copy, copy_I in HF.
  assert (ln 2 < 4 * ln (4/3)); [|lra].
  replace (4 * ln (4/3)) with (ln (4/3) + ln (4/3) + (ln (4/3) + ln (4/3))) by ring.
  rewrite <- !ln_mult by lra. apply ln_increasing; lra.
Qed.
